package virtualcluster

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// endingGrace is how many seconds pods have to stop when their data goes with them: they have nothing to save. It is not
// zero: then the pods would be gone from the API, and with them what the network policies hold to, while their processes
// still run, on a node that does not answer for long.
const endingGrace = client.GracePeriodSeconds(1)

// emptyAndDelete removes what is in a namespace before the namespace itself. The host's namespace controller begins after
// five seconds, and what it then finds with a finalizer or a grace period costs five to sixteen more. Network policies
// and the agent's rights stay until the pods have ended; see clear.
func (r *Reconciler) emptyAndDelete(ctx context.Context, namespace *corev1.Namespace) error {
	ending := []client.DeleteAllOfOption{client.InNamespace(namespace.Name), endingGrace}
	if namespace.Labels[mapping.LabelKind] == mapping.KindControl {
		background := client.PropagationPolicy(metav1.DeletePropagationBackground)
		if err := r.host.DeleteAllOf(ctx, &appsv1.StatefulSet{}, client.InNamespace(namespace.Name), background); err != nil {
			return fmt.Errorf("delete the StatefulSets in Namespace %q: %w", namespace.Name, err)
		}
	}
	if err := r.host.DeleteAllOf(ctx, &corev1.Pod{}, ending...); err != nil {
		return fmt.Errorf("delete the pods in Namespace %q: %w", namespace.Name, err)
	}
	// A claim is held by its pods; it goes with the last of them.
	if err := r.host.DeleteAllOf(ctx, &corev1.PersistentVolumeClaim{}, client.InNamespace(namespace.Name)); err != nil {
		return fmt.Errorf("delete the PersistentVolumeClaims in Namespace %q: %w", namespace.Name, err)
	}
	if err := r.deleteServices(ctx, namespace.Name); err != nil {
		return err
	}
	if err := r.deleteFiles(ctx, namespace); err != nil {
		return err
	}
	return r.deleteExactly(ctx, namespace)
}

// deleteServices deletes one by one: a collection of Services cannot be deleted on every host.
func (r *Reconciler) deleteServices(ctx context.Context, namespace string) error {
	var services corev1.ServiceList
	if err := r.host.List(ctx, &services, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("list the Services in Namespace %q: %w", namespace, err)
	}
	for _, service := range services.Items {
		if err := r.deleteExactly(ctx, &service); err != nil {
			return err
		}
	}
	return nil
}

// deleteFiles deletes keys, tokens and configuration, but not what the host itself has put into the namespace.
func (r *Reconciler) deleteFiles(ctx context.Context, namespace *corev1.Namespace) error {
	own := client.MatchingLabels{mapping.LabelUID: namespace.Labels[mapping.LabelUID]}
	for _, kind := range []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}} {
		err := r.host.DeleteAllOf(ctx, kind, client.InNamespace(namespace.Name), own)
		if apierrors.IsForbidden(err) {
			return nil // the agent never came to bind its rights here, or they are gone: nothing of it is left to delete
		}
		if err != nil {
			return fmt.Errorf("delete each %T in Namespace %q: %w", kind, namespace.Name, err)
		}
	}
	return nil
}

// releasePods removes the finalizer that keeps a Job's host pod until its end is written down in the tenant, where
// nobody will read it any more, and tells how many pods are left. It is done in every pass: a pod may have come in the
// moment of the deletion.
func releasePods(ctx context.Context, host client.Client, namespace string) (left int, err error) {
	var pods corev1.PodList
	if err := host.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		return 0, fmt.Errorf("list the pods in Namespace %q: %w", namespace, err)
	}
	for i := range pods.Items {
		if err := releasePod(ctx, host, &pods.Items[i]); err != nil {
			return 0, err
		}
	}
	return len(pods.Items), nil
}

func releasePod(ctx context.Context, host client.Client, pod *corev1.Pod) error {
	released := pod.DeepCopy()
	if !controllerutil.RemoveFinalizer(released, mapping.FinalizerTerminalStatus) {
		return nil
	}
	err := client.IgnoreNotFound(host.Patch(ctx, released, client.StrategicMergeFrom(pod)))
	if err != nil {
		return fmt.Errorf("release pod %q in Namespace %q: %w", pod.Name, pod.Namespace, err)
	}
	return nil
}
