package virtualcluster

import (
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

const (
	reasonWishesSynced = "Synced"

	// What the sync finds out about what a spec wishes for is asked: a right or an object of the host may come and go without this
	// object being written.
	wishesPending = time.Second
	wishesPeriod  = 15 * time.Second
)

// wish is something that a spec may name and that the host must grant.
type wish struct {
	condition string
	isMade    func(clusterv1alpha1.VirtualClusterSpec) bool
	// problem is nil where nobody knows; see Options.
	problem func(tenants.Tenant) (reason, message string)
	granted string
}

func (r *Reconciler) wishes() []wish {
	return []wish{{
		condition: clusterv1alpha1.ConditionCustomResourcesSynced,
		isMade:    func(spec clusterv1alpha1.VirtualClusterSpec) bool { return len(spec.Sync.CustomResources) > 0 },
		problem:   r.options.CustomResources,
		granted:   "The custom resources are kept in step",
	}, {
		condition: clusterv1alpha1.ConditionHostObjectsSynced,
		isMade:    func(spec clusterv1alpha1.VirtualClusterSpec) bool { return len(spec.Sync.HostObjects) > 0 },
		problem:   r.options.HostObjects,
		granted:   "The objects of the host are in the virtual cluster",
	}}
}

// reportWishes sets the conditions of what the spec wishes for, and returns when they have to be looked at again, not later than
// after.
func (r *Reconciler) reportWishes(vc *clusterv1alpha1.VirtualCluster, after time.Duration) time.Duration {
	for _, wish := range r.wishes() {
		after = r.reportWish(vc, wish, after)
	}
	return after
}

func (r *Reconciler) reportWish(vc *clusterv1alpha1.VirtualCluster, wish wish, after time.Duration) time.Duration {
	if wish.problem == nil || !wish.isMade(vc.Spec) {
		apimeta.RemoveStatusCondition(&vc.Status.Conditions, wish.condition)
		return after
	}
	// The registry may be behind; what counts is what this spec says.
	tenant, ok := r.options.Registry.ByUID(vc.UID)
	if !ok {
		return min(after, wishesPending)
	}
	tenant.Spec = vc.Spec
	reason, message := wish.problem(tenant)
	if reason == "" {
		setCondition(vc, wish.condition, metav1.ConditionTrue, reasonWishesSynced, wish.granted)
		return min(after, wishesPeriod)
	}
	setCondition(vc, wish.condition, metav1.ConditionFalse, reason, shortened(message))
	if reason == "Pending" {
		return min(after, wishesPending)
	}
	return min(after, wishesPeriod)
}

// maxMessage is what the API allows a condition's message, nearly.
const maxMessage = 32000

func shortened(message string) string {
	if len(message) > maxMessage {
		return strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return message
}
