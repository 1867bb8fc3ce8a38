package virtualcluster

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// Names of the objects in a control namespace.
const (
	controlPlaneName   = "controlplane"
	serviceName        = "kubernetes"
	configName         = "config"
	pkiSecretName      = "pki"
	agentPKISecretName = "pki-agent"
)

// ownerLabels say whose a host object is.
func ownerLabels(vc *clusterv1alpha1.VirtualCluster, id string) map[string]string {
	return map[string]string{
		mapping.LabelID:        id,
		mapping.LabelUID:       string(vc.UID),
		mapping.LabelName:      vc.Name,
		mapping.LabelNamespace: vc.Namespace,
	}
}

// controlLabels are those of the objects in a control namespace; the agent's caches select on the kind.
func controlLabels(vc *clusterv1alpha1.VirtualCluster) map[string]string {
	labels := ownerLabels(vc, vc.Status.ID)
	labels[mapping.LabelKind] = mapping.KindControl
	return labels
}

// podLabels are those of the control plane's pods.
func podLabels(vc *clusterv1alpha1.VirtualCluster) map[string]string {
	labels := controlLabels(vc)
	maps.Copy(labels, podSelector())
	return labels
}

func podSelector() map[string]string { return map[string]string{LabelApp: "matryoshka-controlplane"} }

func controlMeta(vc *clusterv1alpha1.VirtualCluster, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: mapping.ControlNamespace(vc.Status.ID),
		Name:      name,
		Labels:    controlLabels(vc),
	}
}

// kubeconfigSecretName is the Secret beside the VirtualCluster that holds its administrator's kubeconfig.
func kubeconfigSecretName(vc *clusterv1alpha1.VirtualCluster) string { return vc.Name + "-kubeconfig" }

// kubeconfigBindingName is the RoleBinding by which the agent may write that Secret.
func kubeconfigBindingName(vc *clusterv1alpha1.VirtualCluster) string {
	return mapping.ReservedPrefix + "kubeconfig-" + vc.Name
}
