package integration

import (
	"fmt"
	"strings"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// TestRunningLimit: who sleeps leaves room for another one to run, and does not wake while there is none.
func TestRunningLimit(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	h.StartAgent(t, tenancytest.Parts{More: lifecycle})
	h.Create(t, &tenancyv1alpha1.Account{ObjectMeta: metav1.ObjectMeta{Name: "team"}, Spec: tenancyv1alpha1.AccountSpec{
		VirtualClusters: tenancyv1alpha1.AccountVirtualClusters{Limit: new(int32(5)), RunningLimit: new(int32(1))},
	}})
	h.Create(t, &tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: tenancyv1alpha1.SpaceSpec{Account: "team"}})
	create := func(name string) {
		t.Helper()
		vc := newVirtualCluster("web", func(*clusterv1alpha1.VirtualClusterSpec) {})
		vc.Name = name
		h.Eventually(t, name+" is made", func() error { return h.Admin.Create(t.Context(), vc.DeepCopy()) })
	}
	awaitThat := func(name, what string, ok func(*clusterv1alpha1.VirtualCluster) bool) {
		t.Helper()
		h.Eventually(t, name+" "+what, func() error {
			var vc clusterv1alpha1.VirtualCluster
			if err := h.Admin.Get(t.Context(), client.ObjectKey{Namespace: "web", Name: name}, &vc); err != nil {
				return err
			}
			if !ok(&vc) {
				return fmt.Errorf("its status is %+v", vc.Status)
			}
			return nil
		})
	}
	force := func(name string, forced tenancyv1alpha1.SleepForce) {
		t.Helper()
		h.Eventually(t, name+" is told to sleep or not", func() error {
			var vc clusterv1alpha1.VirtualCluster
			if err := h.Admin.Get(t.Context(), client.ObjectKey{Namespace: "web", Name: name}, &vc); err != nil {
				return err
			}
			vc.Spec.Sleep = &tenancyv1alpha1.Sleep{Force: forced}
			return h.Admin.Update(t.Context(), &vc)
		})
	}
	isBegun := func(vc *clusterv1alpha1.VirtualCluster) bool { return vc.Status.ID != "" }
	isAsleep := func(vc *clusterv1alpha1.VirtualCluster) bool {
		return vc.Status.Sleep.Phase == tenancyv1alpha1.PhaseAsleep
	}

	create("first")
	awaitThat("first", "is begun", isBegun)
	create("second")
	awaitThat("second", "waits to run", func(vc *clusterv1alpha1.VirtualCluster) bool {
		ready := apimeta.FindStatusCondition(vc.Status.Conditions, clusterv1alpha1.ConditionReady)
		return !isBegun(vc) && ready != nil && ready.Reason == clusterv1alpha1.ReasonAccountLimitReached &&
			strings.Contains(ready.Message, "has 1 running virtual clusters of the 1")
	})
	force("first", tenancyv1alpha1.ForceAsleep)
	awaitThat("first", "sleeps", isAsleep)
	awaitThat("second", "is begun when there is room", isBegun)

	force("first", tenancyv1alpha1.ForceAwake)
	awaitThat("first", "stays asleep and says why", func(vc *clusterv1alpha1.VirtualCluster) bool {
		return isAsleep(vc) && apimeta.FindStatusCondition(vc.Status.Conditions, tenancyv1alpha1.ConditionAsleep).Reason == clusterv1alpha1.ReasonAccountLimitReached
	})
	force("second", tenancyv1alpha1.ForceAsleep)
	awaitThat("first", "wakes when there is room", func(vc *clusterv1alpha1.VirtualCluster) bool { return !vc.Status.Sleep.IsAsleep() })
}
