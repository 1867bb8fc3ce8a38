package connect

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/virtualcluster"
)

// checkWakes refuses a virtual cluster that sleeps and that no connection wakes. The command would only be told that its TLS
// connection is denied: the front door has no certificate of the virtual cluster's with which it could say more.
func checkWakes(ctx context.Context, hostClient client.Reader, key client.ObjectKey) error {
	vc, err := virtualcluster.Kind.Get(ctx, hostClient, key)
	if err != nil {
		return err
	}
	return wakes(vc)
}

func wakes(vc *clusterv1alpha1.VirtualCluster) error {
	if !vc.Status.Sleep.IsAsleep() {
		return nil
	}
	key := client.ObjectKeyFromObject(vc)
	switch {
	case vc.Spec.Paused:
		return exit.WithNext(fmt.Errorf("virtual cluster %q sleeps, and does not wake since it is paused", key), "take spec.paused off")
	case vc.Spec.Sleep != nil && vc.Spec.Sleep.Force == tenancyv1alpha1.ForceAsleep:
		return exit.WithNext(fmt.Errorf("virtual cluster %q is forced asleep, and no connection wakes it", key),
			"`matry wake virtualcluster %s -n %s`", key.Name, key.Namespace)
	}
	return nil
}
