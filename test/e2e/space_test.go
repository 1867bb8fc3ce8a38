package e2e

import (
	"context"
	"testing"
)

// newSpace makes an account and a space of the same name on the shared host, both gone when the test ends. The rules are fields of the
// account's spec, as a flow mapping.
func newSpace(t *testing.T, name, rules string) {
	t.Helper()
	shared.mustApply(t, `
apiVersion: tenancy.matryoshka.dev/v1alpha1
kind: Account
metadata: {name: `+name+`}
spec: `+rules+`
---
apiVersion: tenancy.matryoshka.dev/v1alpha1
kind: Space
metadata: {name: `+name+`}
spec: {account: `+name+`}
`)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cliTimeout)
		defer cancel()
		if ended := shared.matry(ctx, "kubectl", "delete", "--wait=false", "space/"+name, "account/"+name); ended.err != nil {
			t.Error(ended.err)
		}
	})
	shared.mustMatry(t, "kubectl", "wait", "--for=condition=Ready", "space/"+name, "--timeout=5m")
}
