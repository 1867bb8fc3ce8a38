package virtualcluster

import (
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

const (
	reasonCustomResourcesSynced = "Synced"

	// What the sync finds out about custom resources is asked for: the right to a kind may come and go without this object
	// being written.
	customResourcesPending = time.Second
	customResourcesPeriod  = 15 * time.Second
)

// reportCustomResources sets the condition of the custom resources that the spec names, and returns when it has to be looked
// at again, not later than after.
func (r *Reconciler) reportCustomResources(vc *clusterv1alpha1.VirtualCluster, after time.Duration) time.Duration {
	if r.options.CustomResources == nil || len(vc.Spec.Sync.CustomResources) == 0 {
		apimeta.RemoveStatusCondition(&vc.Status.Conditions, clusterv1alpha1.ConditionCustomResourcesSynced)
		return after
	}
	// The registry may be behind; what counts is what this spec says.
	tenant, ok := r.options.Registry.ByUID(vc.UID)
	if !ok {
		return min(after, customResourcesPending)
	}
	tenant.Spec = vc.Spec
	reason, message := r.options.CustomResources(tenant)
	if reason == "" {
		setCondition(vc, clusterv1alpha1.ConditionCustomResourcesSynced, metav1.ConditionTrue, reasonCustomResourcesSynced, "The custom resources are kept in step")
		return min(after, customResourcesPeriod)
	}
	setCondition(vc, clusterv1alpha1.ConditionCustomResourcesSynced, metav1.ConditionFalse, reason, shortened(message))
	if reason == "Pending" {
		return min(after, customResourcesPending)
	}
	return min(after, customResourcesPeriod)
}

// maxMessage is what the API allows a condition's message, nearly.
const maxMessage = 32000

func shortened(message string) string {
	if len(message) > maxMessage {
		return strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return message
}
