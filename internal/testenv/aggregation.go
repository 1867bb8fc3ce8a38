package testenv

import (
	"context"
	"testing"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
)

// AggregateClusterRoles runs, until the test ends, the controller that sums up ClusterRoles by their labels.
func AggregateClusterRoles(t testing.TB, c *rest.Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	clients := kubernetes.NewForConfigOrDie(c)
	factory := informers.NewSharedInformerFactory(clients, 0)
	controller := clusterroleaggregation.NewClusterRoleAggregation(factory.Rbac().V1().ClusterRoles(), clients.RbacV1())
	factory.Start(ctx.Done())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		controller.Run(ctx, 1)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		factory.Shutdown()
	})
}
