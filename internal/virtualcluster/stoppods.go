package virtualcluster

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/component-helpers/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// stopped is what came of an attempt to stop the pods of a virtual cluster.
type stopped struct {
	// running are pods that nobody has asked to end yet, left those that have not ended yet, running ones among them.
	running, left int
	// control are the pods of the control plane that have not ended.
	control int
	saved   tenancyv1alpha1.SavedResources
}

// stopPods asks every host pod of an earlier epoch to end. What has ended by itself stays, until the tenant has been told how.
// Endpoints that the tenant has written by hand go, too: the addresses in them will be other people's. Nothing may make new ones
// meanwhile.
func (r *Reconciler) stopPods(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (stopped, error) {
	var result stopped
	namespaces, err := r.ownNamespaces(ctx, vc)
	if err != nil {
		return result, err
	}
	for _, namespace := range namespaces {
		var pods corev1.PodList
		if err := r.host.List(ctx, &pods, client.InNamespace(namespace.Name)); err != nil {
			return result, fmt.Errorf("list the pods in Namespace %q: %w", namespace.Name, err)
		}
		isControl := namespace.Labels[mapping.LabelKind] == mapping.KindControl
		for index := range pods.Items {
			pod := &pods.Items[index]
			if pod.Labels[mapping.LabelUID] != string(vc.UID) || isKept(pod) || !isControl && !isOfEarlierEpoch(pod, vc) {
				continue
			}
			result.saved.Pods++
			addRequests(&result.saved, pod)
			if isControl {
				result.control++ // it goes last, by its StatefulSet
				continue
			}
			result.left++
			isAsked, err := r.stopPod(ctx, pod)
			if err != nil {
				return result, err
			}
			if !isAsked {
				result.running++
			}
		}
		if err := r.dropEndpoints(ctx, vc, namespace.Name); err != nil {
			return result, err
		}
	}
	return result, nil
}

// isKept tells whether a host pod has ended by itself and the tenant may not know it yet.
func isKept(hostPod *corev1.Pod) bool {
	hasEnded := hostPod.Status.Phase == corev1.PodSucceeded || hostPod.Status.Phase == corev1.PodFailed
	return hasEnded && (hostPod.DeletionTimestamp.IsZero() || controllerutil.ContainsFinalizer(hostPod, mapping.FinalizerTerminalStatus))
}

func isOfEarlierEpoch(hostPod *corev1.Pod, vc *clusterv1alpha1.VirtualCluster) bool {
	epoch, err := strconv.ParseInt(hostPod.Annotations[mapping.AnnotationSleepEpoch], 10, 64)
	return err != nil || epoch < vc.Status.Sleep.Epoch
}

func addRequests(saved *tenancyv1alpha1.SavedResources, pod *corev1.Pod) {
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	saved.MilliCPU += requests.Cpu().MilliValue()
	saved.MemoryBytes += requests.Memory().Value()
}

// stopPod deletes a pod in the state that was seen, and tells whether it is asked to end. The finalizer of a Job's pod goes first:
// how it ends now is nothing to tell the Job. One that ends in this very moment is left, to be told.
func (r *Reconciler) stopPod(ctx context.Context, hostPod *corev1.Pod) (bool, error) {
	released := hostPod.DeepCopy()
	if controllerutil.RemoveFinalizer(released, mapping.FinalizerTerminalStatus) {
		patch := client.MergeFromWithOptions(hostPod, client.MergeFromWithOptimisticLock{})
		if err := r.host.Patch(ctx, released, patch, fieldManager); err != nil {
			return false, ignoreChanged(fmt.Errorf("release pod %q in Namespace %q: %w", hostPod.Name, hostPod.Namespace, err))
		}
	}
	if !hostPod.DeletionTimestamp.IsZero() {
		return true, nil
	}
	err := r.host.Delete(ctx, released, client.Preconditions{UID: &released.UID, ResourceVersion: &released.ResourceVersion})
	if err != nil {
		return false, ignoreChanged(fmt.Errorf("delete pod %q in Namespace %q: %w", hostPod.Name, hostPod.Namespace, err))
	}
	return true, nil
}

// ignoreChanged makes nothing of an object that is another one by now or gone: it is looked at again.
func ignoreChanged(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// dropEndpoints deletes the copies of the tenant's hand-made EndpointSlices. The sync makes them again after it has checked them.
func (r *Reconciler) dropEndpoints(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, hostNamespace string) error {
	var slices discoveryv1.EndpointSliceList
	if err := r.host.List(ctx, &slices, client.InNamespace(hostNamespace), client.MatchingLabels{mapping.LabelUID: string(vc.UID)}); err != nil {
		return fmt.Errorf("list the EndpointSlices in Namespace %q: %w", hostNamespace, err)
	}
	for index := range slices.Items {
		slice := &slices.Items[index]
		if slice.Annotations[mapping.AnnotationTenantUID] == "" {
			continue // the host's own, of a Service with a selector: it is empty when the pods are gone
		}
		err := r.host.Delete(ctx, slice, client.Preconditions{UID: &slice.UID})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete EndpointSlice %q in Namespace %q: %w", slice.Name, hostNamespace, err)
		}
	}
	return nil
}
