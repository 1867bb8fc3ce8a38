package measure

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
)

// newNamespace makes a namespace and returns when it takes pods.
func newNamespace(ctx context.Context, side kubernetes.Interface, name string) error {
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := side.CoreV1().Namespaces().Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create namespace %q: %w", name, err)
	}
	return lab.AwaitAccount(ctx, side, name)
}

// dropNamespace deletes a namespace and returns when it is gone.
func dropNamespace(ctx context.Context, side kubernetes.Interface, name string) error {
	err := side.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete namespace %q: %w", name, err)
	}
	return awaitNoNamespace(ctx, side, name)
}

// awaitNoNamespace returns when a namespace does not exist.
func awaitNoNamespace(ctx context.Context, side kubernetes.Interface, name string) error {
	return lab.AwaitNone(ctx, fmt.Sprintf("namespace %q", name), lab.Objects(side, "namespaces", &corev1.Namespace{}, "", name))
}

// dropHostNamespace is for what a step has made on the host beside its virtual clusters.
func (b *Bench) dropHostNamespace(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	if err := dropNamespace(ctx, b.Host.Client, name); err != nil {
		b.Log("%v", err)
	}
}

// dropPod deletes a pod of the tenant and returns when it is gone on both sides.
func dropPod(ctx context.Context, between sides, name string) error {
	if err := between.virtualClient.CoreV1().Pods(between.virtualNamespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete pod %q: %w", name, err)
	}
	if err := lab.AwaitNone(ctx, fmt.Sprintf("host pod %q", name), lab.Pods(between.hostClient, between.hostNamespace, name)); err != nil {
		return err
	}
	return lab.AwaitNone(ctx, fmt.Sprintf("pod %q", name), lab.Pods(between.virtualClient, between.virtualNamespace, name))
}
