package namespaces

import (
	"testing"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostranges"
)

// TestForgottenWhileBeingMade: a fence that is damaged just after a call looked at it is looked at once more.
func TestForgottenWhileBeingMade(t *testing.T) {
	ensurer := New(nil, Options{Ranges: &hostranges.Source{}})
	const name = "vc-aaaaaaaa-default"
	wanted := look{uid: "uid-a"}
	if !ensurer.begin(name, wanted) {
		t.Fatal("a namespace that nobody made is complete")
	}
	ensurer.Forget(name)
	ensurer.end(name, wanted, nil)
	if !ensurer.begin(name, wanted) {
		t.Fatal("it counts as complete, though it was forgotten meanwhile")
	}
	ensurer.end(name, wanted, nil)
	if ensurer.begin(name, wanted) {
		t.Error("it is made again, though nobody forgot it")
	}
}
