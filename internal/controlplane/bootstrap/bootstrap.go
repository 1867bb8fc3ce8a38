package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	schedulingv1 "k8s.io/kubernetes/pkg/apis/scheduling/v1"
)

// How many writes run at the same time. The datastore serializes them; more in flight only raises their latency.
const writers = 8

// Retries of Ensure: the API server can be briefly unable to write while it starts.
const retryInterval = 100 * time.Millisecond

// Ensure writes what is missing and retries until it is there or the context ends; the error then names what was
// missing last.
func Ensure(ctx context.Context, client kubernetes.Interface) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, retryInterval, true, func(ctx context.Context) (bool, error) {
		last = ensureOnce(ctx, client)
		return last == nil, nil
	})
	return errors.Join(err, last)
}

func ensureOnce(ctx context.Context, client kubernetes.Interface) error {
	if err := ensureNamespaces(ctx, client); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	ensurePriorityClasses(groupCtx, group, client)
	if err := ensureRBAC(groupCtx, group, client); err != nil {
		return errors.Join(err, group.Wait())
	}
	return group.Wait()
}

func ensureNamespaces(ctx context.Context, client kubernetes.Interface) error {
	existing, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	known := map[string]bool{}
	for i := range existing.Items {
		known[existing.Items[i].Name] = true
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, name := range systemNamespaces {
		if known[name] {
			continue
		}
		group.Go(func() error {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
			_, err := client.CoreV1().Namespaces().Create(groupCtx, namespace, metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("create namespace %q: %w", name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func ensurePriorityClasses(ctx context.Context, group *errgroup.Group, client kubernetes.Interface) {
	for _, class := range schedulingv1.SystemPriorityClasses() {
		group.Go(func() error {
			classes := client.SchedulingV1().PriorityClasses()
			if _, err := classes.Get(ctx, class.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return err
			}
			if _, err := classes.Create(ctx, class, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("create priority class %q: %w", class.Name, err)
			}
			return nil
		})
	}
}
