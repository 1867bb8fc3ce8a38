package virtualcluster

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/await"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// WaitReady waits until the virtual cluster is ready and tells detail what it waits for.
func WaitReady(ctx context.Context, hostClient client.WithWatch, key client.ObjectKey, detail func(string)) (*clusterv1alpha1.VirtualCluster, error) {
	var last *clusterv1alpha1.VirtualCluster
	err := await.Until(ctx, hostClient, key, &clusterv1alpha1.VirtualClusterList{},
		func(vc *clusterv1alpha1.VirtualCluster, exists bool) (bool, error) {
			if !exists {
				return false, &exit.Error{Code: exit.NotFound, Err: errors.New("it was deleted")}
			}
			last = vc
			now := stateOf(vc)
			if !now.ready {
				detail(now.text())
			}
			return now.ready, nil
		})
	if err == nil {
		return last, nil
	}
	if last != nil && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w; the last state was %s", err, stateOf(last).text())
	}
	return nil, exit.WithNext(fmt.Errorf("wait until virtual cluster %q is ready: %w", key, err),
		"`matry describe virtualcluster %s -n %s` shows what it waits for", key.Name, key.Namespace)
}

// text is the state in one line.
func (s state) text() string {
	if s.message == "" {
		return s.reason
	}
	return s.reason + ": " + s.message
}

// waitDeleted waits until the object with this UID is gone. A new one of the same name is another one.
func waitDeleted(ctx context.Context, hostClient client.WithWatch, key client.ObjectKey, uid types.UID) error {
	err := await.Until(ctx, hostClient, key, &clusterv1alpha1.VirtualClusterList{},
		func(vc *clusterv1alpha1.VirtualCluster, exists bool) (bool, error) {
			return !exists || vc.UID != uid, nil
		})
	if err != nil {
		return exit.WithNext(fmt.Errorf("wait until virtual cluster %q is gone: %w", key, err),
			"`matry describe virtualcluster %s -n %s` shows what is left", key.Name, key.Namespace)
	}
	return nil
}
