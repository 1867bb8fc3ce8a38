package integration

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

const finalizer = "test.matryoshka.dev/agent"

// playAgent does for every virtual cluster of a namespace what the agent does: it takes a finalizer, starts, gets ready,
// writes the kubeconfig, and on deletion lets go. It ends with the test.
func playAgent(t *testing.T, h *host, namespace string, kubeconfig []byte) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, h.client, namespace, kubeconfig) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the agent of the test: %v", err)
		}
	})
}

func serve(ctx context.Context, hostClient client.WithWatch, namespace string, kubeconfig []byte) error {
	for ctx.Err() == nil {
		events, err := hostClient.Watch(ctx, &clusterv1alpha1.VirtualClusterList{}, client.InNamespace(namespace))
		if apierrors.IsNotFound(err) {
			return nil // the product was uninstalled
		}
		if err != nil {
			return err
		}
		for event := range events.ResultChan() {
			vc, isOne := event.Object.(*clusterv1alpha1.VirtualCluster)
			if !isOne || event.Type == "DELETED" {
				continue
			}
			err := step(ctx, hostClient, vc, kubeconfig)
			if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
				continue // Somebody else's change was first; it is the next event.
			}
			if err != nil {
				events.Stop()
				return fmt.Errorf("virtual cluster %q: %w", vc.Name, err)
			}
		}
	}
	return ctx.Err()
}

// step does the next thing; its change is the next event.
func step(ctx context.Context, hostClient client.Client, vc *clusterv1alpha1.VirtualCluster, kubeconfig []byte) error {
	switch {
	case vc.DeletionTimestamp != nil:
		if !controllerutil.RemoveFinalizer(vc, finalizer) {
			return nil
		}
		return hostClient.Update(ctx, vc)
	case controllerutil.AddFinalizer(vc, finalizer):
		return hostClient.Update(ctx, vc)
	case vc.Status.ID == "":
		vc.Status.ID, vc.Status.KubernetesVersion = "x7k2p3q4", clusterv1alpha1.KubernetesVersion
		setReady(vc, metav1.ConditionFalse, "Starting", "the control plane starts")
		return hostClient.Status().Update(ctx, vc)
	case !meta.IsStatusConditionTrue(vc.Status.Conditions, clusterv1alpha1.ConditionReady):
		select { // a control plane does not start in an instant, and who waits for it has to be told that it starts
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: vc.Namespace, Name: vc.Name + "-kubeconfig"},
			Data:       map[string][]byte{"config": kubeconfig},
		}
		if err := hostClient.Create(ctx, secret); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		vc.Status.KubeconfigSecret, vc.Status.Endpoint = secret.Name, "https://127.0.0.1:8443"
		setReady(vc, metav1.ConditionTrue, "Ready", "")
		return hostClient.Status().Update(ctx, vc)
	}
	return nil
}

func setReady(vc *clusterv1alpha1.VirtualCluster, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&vc.Status.Conditions, metav1.Condition{
		Type: clusterv1alpha1.ConditionReady, Status: status, Reason: reason, Message: message,
		ObservedGeneration: vc.Generation, LastTransitionTime: metav1.NewTime(time.Now()),
	})
}
