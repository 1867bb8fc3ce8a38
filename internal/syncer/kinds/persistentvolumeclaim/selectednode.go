package persistentvolumeclaim

import (
	corev1 "k8s.io/api/core/v1"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

// annotationSentNode is, on a host claim, the node that the tenant's scheduler had chosen when it was last sent. A
// provisioner that cannot use a node takes the choice out of the claim; this tells that from a choice not yet sent.
const annotationSentNode = "matryoshka.dev/selected-node"

// selectedNode are the annotations by which a choice of the tenant's own scheduler goes down. Without such a
// scheduler, the host's chooses on the host, and a tenant's annotation means nothing.
func selectedNode(scheduling clusterv1alpha1.Scheduling, virtualClaim, hostClaim *corev1.PersistentVolumeClaim) map[string]string {
	node := virtualClaim.Annotations[annotationSelectedNode]
	if scheduling != clusterv1alpha1.SchedulingTenant || node == "" || isNodeRejected(virtualClaim, hostClaim) {
		return nil
	}
	return map[string]string{annotationSelectedNode: node, annotationSentNode: node}
}

// isNodeRejected tells whether the host could not use the node that the tenant's scheduler chose, so that the tenant's
// scheduler has to choose again.
func isNodeRejected(virtualClaim, hostClaim *corev1.PersistentVolumeClaim) bool {
	node := virtualClaim.Annotations[annotationSelectedNode]
	if hostClaim == nil || node == "" || hostClaim.Status.Phase == corev1.ClaimBound {
		return false
	}
	return hostClaim.Annotations[annotationSentNode] == node && hostClaim.Annotations[annotationSelectedNode] == ""
}
