// Package hostquota tells kinds when the host may take what it has refused: when a quota of an account has got room in a mapped
// namespace.
//
// It does not know the quotas of accounts, only the ResourceQuotas that hold them; see internal/tenancy/quota.
package hostquota

import (
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// most is how many objects of a namespace are tried again at a time. Each that gets in changes the room for others, and those that
// are left come again by themselves.
const most = 64

// Trigger wakes what waits in a namespace, by name, when there is more room in it.
func Trigger(waiting func(scope *engine.Scope, tenantNamespace string) []engine.Key) engine.Trigger {
	return engine.Trigger{
		Side: engine.Host, Object: &corev1.ResourceQuota{}, Ignore: gainsNothing,
		Keys: func(scope *engine.Scope, hostQuota client.Object) []engine.Key {
			namespace := hostQuota.GetLabels()[mapping.LabelTenantNamespace]
			if namespace == "" {
				return nil
			}
			keys := waiting(scope, namespace)
			return keys[:min(len(keys), most)]
		},
	}
}

// gainsNothing tells that no resource has more room than before.
func gainsNothing(old, new client.Object) bool {
	before, isQuota := old.(*corev1.ResourceQuota)
	after, ok := new.(*corev1.ResourceQuota)
	if !isQuota || !ok {
		return true
	}
	for name, hard := range after.Status.Hard {
		room, had := hard.DeepCopy(), before.Status.Hard[name].DeepCopy()
		room.Sub(after.Status.Used[name])
		had.Sub(before.Status.Used[name])
		if _, isOld := before.Status.Hard[name]; !isOld || room.Cmp(had) > 0 {
			return false
		}
	}
	return true
}
