package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// Sleep puts a virtual cluster to sleep and returns when nothing of it runs.
func (h *Host) Sleep(ctx context.Context, tenant *Tenant) error {
	ctx, cancel := context.WithTimeout(ctx, usableTimeout)
	defer cancel()
	if err := h.force(ctx, tenant, `"Asleep"`); err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		vc := named(tenant)
		if err := h.Objects.Get(ctx, client.ObjectKeyFromObject(vc), vc); err != nil {
			return fmt.Errorf("get virtual cluster %q: %w", tenant.Name, err)
		}
		if vc.Status.Sleep.Phase == tenancyv1alpha1.PhaseAsleep {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), fmt.Errorf("virtual cluster %q is still %s", tenant.Name, vc.Status.Sleep.Phase))
		}
	}
}

// Wake lets a virtual cluster wake and asks it for something through the front door, where the connection waits. It returns how long
// the answer took from then on.
func (h *Host) Wake(ctx context.Context, tenant *Tenant) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, usableTimeout)
	defer cancel()
	// A connection of its own: one that is open would be to the control plane that has ended.
	config := rest.CopyConfig(tenant.outside)
	config.Dial = (&net.Dialer{}).DialContext
	outside, err := kubernetes.NewForConfig(unlimited(config))
	if err != nil {
		return 0, fmt.Errorf("make a client of %q: %w", tenant.Name, err)
	}
	begin := time.Now()
	if err := h.force(ctx, tenant, "null"); err != nil {
		return 0, err
	}
	if err := outside.Discovery().RESTClient().Get().AbsPath("/api/v1/namespaces/default").Do(ctx).Error(); err != nil {
		return 0, fmt.Errorf("ask %q while it wakes: %w", tenant.Name, err)
	}
	return time.Since(begin), nil
}

func (h *Host) force(ctx context.Context, tenant *Tenant, force string) error {
	patch := fmt.Appendf(nil, `{"spec":{"sleep":{"force":%s}}}`, force)
	if err := h.Objects.Patch(ctx, named(tenant), client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("change the sleep of virtual cluster %q: %w", tenant.Name, err)
	}
	return nil
}

func named(tenant *Tenant) *clusterv1alpha1.VirtualCluster {
	return &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: tenant.Name}}
}
