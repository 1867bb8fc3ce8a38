package agent

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/customresource"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostobject"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/reference"
)

// TestEveryKindIsInTheReference: users are told of what the sync does, and of nothing else.
func TestEveryKindIsInTheReference(t *testing.T) {
	var synced, told []string
	for _, kind := range (&agent{config: &Config{}}).kinds(nil, nil, customresource.New(customresource.Options{}), hostobject.New(hostobject.Options{}), nil) {
		synced = append(synced, kind.Name)
	}
	for _, kind := range reference.Kinds {
		told = append(told, kind.Name)
	}
	slices.Sort(synced)
	slices.Sort(told)
	if diff := cmp.Diff(synced, told); diff != "" {
		t.Errorf("kinds of the sync (-) and of docs/user/sync-reference.md (+):\n%s", diff)
	}
}
