package persistentvolumeclaim

import corev1 "k8s.io/api/core/v1"

// virtualStatus is the status of a tenant claim whose host claim exists. isBound tells that the tenant claim names its
// volume and that the volume has its mirror, so that the tenant may see Bound.
func virtualStatus(virtualClaim, hostClaim *corev1.PersistentVolumeClaim, isBound bool, redact func(string) string) corev1.PersistentVolumeClaimStatus {
	status := *hostClaim.Status.DeepCopy()
	// Classes of volume attributes are the host's own matter.
	status.CurrentVolumeAttributesClassName = nil
	status.ModifyVolumeStatus = nil
	for i := range status.Conditions {
		status.Conditions[i].Message = redact(status.Conditions[i].Message)
	}
	switch {
	case status.Phase == corev1.ClaimBound && isBound:
		return status
	case virtualClaim.Status.Phase == corev1.ClaimBound, virtualClaim.Status.Phase == corev1.ClaimLost:
		// The host is about to bind it again, or its mirror is being made again.
		return virtualClaim.Status
	}
	return corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending, Conditions: status.Conditions}
}

// lostStatus is the status of a claim whose volume is gone.
func lostStatus(virtualClaim *corev1.PersistentVolumeClaim) corev1.PersistentVolumeClaimStatus {
	status := *virtualClaim.Status.DeepCopy()
	status.Phase = corev1.ClaimLost
	return status
}
