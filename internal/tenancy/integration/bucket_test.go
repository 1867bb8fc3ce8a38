package integration

import (
	"strconv"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/grant"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// stranger is a patch that gives somebody else the rights, with the label that a bucket has.
func stranger(t *testing.T, bucket any) client.Patch {
	t.Helper()
	return merge(t, map[string]any{
		"metadata": map[string]any{"labels": map[string]any{mapping.LabelAccountBucket: bucket}},
		"subjects": []rbacv1.Subject{user("mallory")},
	})
}

// TestBucketsAreOneRule: the policies deal an account into the same bucket as the agent, whatever its name.
func TestBucketsAreOneRule(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	for _, name := range []string{"a", "0", "z9", "team", "team-a", "a-0--z", "0123456789", "abcdefghijklmnopqrstuvwxyz", strings.Repeat("z", 50)} {
		account := newAccount(name)
		account.Labels = map[string]string{mapping.LabelAccountBucket: grant.Bucket(name)}
		h.Create(t, account)
		wrong, err := strconv.Atoi(grant.Bucket(name))
		if err != nil {
			t.Fatal(err)
		}
		err = h.Admin.Patch(t.Context(), newAccount(name), merge(t, map[string]any{"metadata": map[string]any{"labels": map[string]any{
			mapping.LabelAccountBucket: strconv.Itoa((wrong + 1) % 32),
		}}}))
		wantRefusal(t, err, "matryoshka-account-bucket")
	}
}
