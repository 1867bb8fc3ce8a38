package integration

import (
	"fmt"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
	"github.com/matryoshka-dev/matryoshka/internal/testenv/faults"
)

// TestLateWatches: watches that are behind, of bindings more than of spaces, make the controller wrong for a while: it has made a binding
// that it does not see. In the end the space is Ready and stays so.
func TestLateWatches(t *testing.T) {
	t.Parallel()
	h := tenancytest.NewHost(t, nil)
	late := faults.Late{By: map[string]time.Duration{"spaces": time.Second, "rolebindings": 5 * time.Second}}
	h.StartAgent(t, tenancytest.Parts{Config: late.Config(h.AgentConfig())})
	h.Create(t, newAccount("late", user("lisa")))
	createSpace(t, h, h.As(t, "lisa"), "late-first", "late")
	awaitReady(t, h, "late-first")
	late.IsOn.Store(true)
	createSpace(t, h, h.As(t, "lisa"), "late-second", "late")
	said := map[string]bool{}
	began, since := time.Now(), time.Time{}
	h.Eventually(t, "the space is Ready and stays so", func() error {
		var space tenancyv1alpha1.Space
		if err := h.Admin.Get(t.Context(), client.ObjectKey{Name: "late-second"}, &space); err != nil {
			return err
		}
		condition := apimeta.FindStatusCondition(space.Status.Conditions, tenancyv1alpha1.ConditionReady)
		if condition == nil {
			return fmt.Errorf("nothing is said yet")
		}
		said[condition.Message] = true
		if condition.Status != "True" {
			since = time.Time{}
			return fmt.Errorf("it is %s: %s", condition.Reason, condition.Message)
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < 5*time.Second {
			return fmt.Errorf("it is Ready since %s", time.Since(since))
		}
		return nil
	})
	t.Logf("Ready for good after %s; said was %v", since.Sub(began), said)
	if !said["The rights of the members are being made"] {
		t.Error("the controller was never wrong, so that this tested nothing")
	}
}
