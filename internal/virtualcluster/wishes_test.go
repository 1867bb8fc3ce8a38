package virtualcluster

import (
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// The owner is told what keeps custom resources from being in step, for the spec as it is now, and no longer than it is so.
func TestReportWishes(t *testing.T) {
	registry := tenants.NewRegistry()
	registry.Set(tenants.Tenant{UID: "u-1"})
	reason, message := "NotGranted", "widgets.example.com: no right"
	var asked []clusterv1alpha1.CustomResource
	reconciler := &Reconciler{options: &Options{Registry: registry, CustomResources: func(tenant tenants.Tenant) (string, string) {
		asked = tenant.Spec.Sync.CustomResources
		return reason, message
	}}}
	vc := &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{UID: "u-1", Generation: 3}}
	vc.Spec.Sync.CustomResources = []clusterv1alpha1.CustomResource{{Name: "widgets.example.com"}}
	if after := reconciler.reportWishes(vc, time.Hour); after > time.Minute {
		t.Errorf("looked at again after %s only", after)
	}
	if len(asked) != 1 {
		t.Errorf("the sync was asked about %v", asked)
	}
	condition := apimeta.FindStatusCondition(vc.Status.Conditions, clusterv1alpha1.ConditionCustomResourcesSynced)
	if condition == nil || condition.Status != metav1.ConditionFalse || condition.Reason != reason || condition.Message != message || condition.ObservedGeneration != 3 {
		t.Errorf("the condition is %+v", condition)
	}
	reason, message = "", ""
	reconciler.reportWishes(vc, time.Hour)
	if !apimeta.IsStatusConditionTrue(vc.Status.Conditions, clusterv1alpha1.ConditionCustomResourcesSynced) {
		t.Errorf("the conditions are %+v", vc.Status.Conditions)
	}
	reconciler.options.HostObjects = func(tenants.Tenant) (string, string) { return "NotShared", "Secret: not shared" }
	vc.Spec.Sync.HostObjects = []clusterv1alpha1.HostObject{{Kind: clusterv1alpha1.HostSecret, Name: "registry"}}
	reconciler.reportWishes(vc, time.Hour)
	if !apimeta.IsStatusConditionFalse(vc.Status.Conditions, clusterv1alpha1.ConditionHostObjectsSynced) ||
		!apimeta.IsStatusConditionTrue(vc.Status.Conditions, clusterv1alpha1.ConditionCustomResourcesSynced) {
		t.Errorf("the conditions are %+v", vc.Status.Conditions)
	}
	vc.Spec.Sync.HostObjects = nil
	vc.Spec.Sync.CustomResources = nil
	if after := reconciler.reportWishes(vc, time.Hour); after != time.Hour || len(vc.Status.Conditions) != 0 {
		t.Errorf("without custom resources: after %s, conditions %+v", after, vc.Status.Conditions)
	}
}
