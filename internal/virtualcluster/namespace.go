package virtualcluster

import (
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

const podSecurityEnforce = "pod-security.kubernetes.io/enforce"

// renderNamespace renders the control namespace, with the rules of its account if that is not nil.
func renderNamespace(vc *clusterv1alpha1.VirtualCluster, id string, account *rules.Rules) *corev1.Namespace {
	labels := ownerLabels(vc, id)
	labels[mapping.LabelKind] = mapping.KindControl
	labels[podSecurityEnforce] = "restricted"
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: mapping.ControlNamespace(id), Labels: labels}}
	if account != nil {
		account.Put(&namespace.ObjectMeta)
	}
	return namespace
}

// renderTenantBinding gives the agent its rights in the control namespace.
func renderTenantBinding(vc *clusterv1alpha1.VirtualCluster, options *Options) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: controlMeta(vc, TenantRole),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: TenantRole},
		Subjects:   agentSubjects(options),
	}
}

// renderKubeconfigBinding lets the agent write the kubeconfig Secret beside the VirtualCluster.
func renderKubeconfigBinding(vc *clusterv1alpha1.VirtualCluster, options *Options) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       vc.Namespace,
			Name:            kubeconfigBindingName(vc),
			Labels:          ownerLabels(vc, vc.Status.ID),
			OwnerReferences: []metav1.OwnerReference{ownerReference(vc)},
		},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: KubeconfigRole},
		Subjects: agentSubjects(options),
	}
}

func agentSubjects(options *Options) []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: options.SystemNamespace, Name: AgentName}}
}

// ownerReference makes the host's garbage collector remove what stands beside the VirtualCluster, should the agent not
// come to it. It does not block the deletion of the owner, which would need rights on its finalizers.
func ownerReference(vc *clusterv1alpha1.VirtualCluster) metav1.OwnerReference {
	isController := true
	return metav1.OwnerReference{
		APIVersion: clusterv1alpha1.GroupVersion.String(),
		Kind:       "VirtualCluster",
		Name:       vc.Name,
		UID:        vc.UID,
		Controller: &isController,
	}
}
