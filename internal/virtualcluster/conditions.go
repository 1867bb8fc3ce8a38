package virtualcluster

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

// Reasons of conditions.
const (
	reasonCreating      = "Creating"
	reasonStarting      = "Starting"
	reasonNotAnswering  = "NotAnswering"
	reasonBootstrapping = "Bootstrapping"
	reasonReady         = "Ready"
	reasonServing       = "Serving"
	reasonNotServing    = "NotServing"
	reasonPaused        = "Paused"
	reasonAsleep        = "Asleep"
	reasonFallingAsleep = "FallingAsleep"
	reasonWaking        = "Waking"
	reasonTerminating   = "Terminating"
	reasonInvalidSpec   = "InvalidSpec"
	reasonNameTaken     = "NameTaken"
	reasonHostError     = "HostError"
)

func setCondition(vc *clusterv1alpha1.VirtualCluster, kind string, status metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(&vc.Status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: vc.Generation,
	})
}

// setProgress says why the virtual cluster is not usable yet, or not any more.
func setProgress(vc *clusterv1alpha1.VirtualCluster, reason, message string) {
	setCondition(vc, clusterv1alpha1.ConditionControlPlaneReady, metav1.ConditionFalse, reason, message)
	setCondition(vc, clusterv1alpha1.ConditionReady, metav1.ConditionFalse, reason, message)
}

// reportFailure tells the owner about an error. One that passes by itself is not told; one of the host's does not make
// a virtual cluster unready that is answering.
func reportFailure(vc *clusterv1alpha1.VirtualCluster, err error) {
	var soon *retrySoonError
	var foreign *foreignSecretError
	switch {
	case errors.As(err, &foreign):
		setCondition(vc, clusterv1alpha1.ConditionReady, metav1.ConditionFalse, reasonNameTaken, foreign.Error())
	case isNoPlace(err):
		setProgress(vc, clusterv1alpha1.ReasonAccountLimitReached, rootMessage(err))
	case isRefusal(err):
		message := "The host refuses what the spec asks for; change the spec: " + rootMessage(err)
		setCondition(vc, clusterv1alpha1.ConditionReady, metav1.ConditionFalse, reasonInvalidSpec, message)
	case errors.As(err, &soon) || apierrors.IsConflict(err):
	case !apimeta.IsStatusConditionTrue(vc.Status.Conditions, clusterv1alpha1.ConditionReady):
		setCondition(vc, clusterv1alpha1.ConditionReady, metav1.ConditionFalse, reasonHostError, rootMessage(err))
	}
}

// rootMessage is what the API server itself said, which is what an owner can act on, or else the whole error.
func rootMessage(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Message != "" {
		return status.Status().Message
	}
	return err.Error()
}

func isForeign(err error) bool {
	var foreign *foreignSecretError
	return errors.As(err, &foreign)
}

// reportAndWrite writes the status if it has changed. The write fails on a conflict rather than bring back old
// conditions.
func (r *Reconciler) reportAndWrite(ctx context.Context, before, vc *clusterv1alpha1.VirtualCluster, err error) error {
	if err != nil {
		reportFailure(vc, err)
	}
	vc.Status.ObservedGeneration = vc.Generation
	if equality.Semantic.DeepEqual(before.Status, vc.Status) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := client.IgnoreNotFound(r.host.Status().Patch(ctx, vc, patch, fieldManager)); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	return nil
}
