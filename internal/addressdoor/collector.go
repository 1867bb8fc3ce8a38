package addressdoor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// collectEvery is how often the reservations are looked through. The list comes from a cache.
const collectEvery = reservationTime

// Collector deletes reservations whose time has passed and that no tenant Service came for, as happens when a
// tenant's own admission denies the Service after the door has answered. It may run in several replicas at once.
type Collector struct {
	// Host reaches the host cluster with the agent's own rights.
	Host kubernetes.Interface
	// Tenants are the virtual clusters of this host. Reservations of others are left to who deletes their namespaces.
	Tenants *tenants.Registry
	// HostServices lists the host Services that carry mapping.LabelID; a cache is good enough.
	HostServices func() ([]*corev1.Service, error)
	// TenantService tells whether the tenant has the Service after all; nil means AskTenant.
	TenantService TenantService
	// Clock is the time; nil means the real one.
	Clock clock.WithTicker
	// Log is where faults are told; nil means slog.Default.
	Log *slog.Logger
}

// Run collects until the context ends.
func (c Collector) Run(ctx context.Context) error {
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.TenantService == nil {
		c.TenantService = AskTenant
	}
	ticker := c.Clock.NewTicker(collectEvery)
	defer ticker.Stop()
	for {
		if err := c.Collect(ctx); err != nil && ctx.Err() == nil {
			c.Log.Error("Collection of unused Service addresses failed; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

// Collect looks through the reservations once. All fields must be set.
func (c Collector) Collect(ctx context.Context) error {
	hostServices, err := c.HostServices()
	if err != nil {
		return fmt.Errorf("list host Services: %w", err)
	}
	var errs []error
	// A tenant that does not answer is asked once, not for each of its reservations.
	silent := map[types.UID]bool{}
	for _, hostService := range hostServices {
		until, ok := reservedUntil(hostService)
		if !ok || hostService.DeletionTimestamp != nil || c.Clock.Now().Before(until) {
			continue
		}
		tenant, ok := c.Tenants.ByID(hostService.Labels[mapping.LabelID])
		if !ok || tenant.Terminating || silent[tenant.UID] {
			continue
		}
		collected, err := c.collect(ctx, tenant, hostService)
		if err != nil {
			silent[tenant.UID] = true
			errs = append(errs, err)
			continue
		}
		if collected {
			c.Log.Info("Unused Service address collected", "vcluster", tenant.UID, "name", hostService.Name,
				"namespace", hostService.Labels[mapping.LabelTenantNamespace])
		}
	}
	return errors.Join(errs...)
}

func (c Collector) collect(ctx context.Context, tenant tenants.Tenant, hostService *corev1.Service) (bool, error) {
	virtualNamespace := hostService.Labels[mapping.LabelTenantNamespace]
	if !belongsTo(hostService, tenant, virtualNamespace) || hostService.Namespace != mapping.HostNamespace(tenant.ID, virtualNamespace) {
		return false, nil
	}
	// The sync may be far behind, or the tenant asleep: a stored Service keeps its address, however late it is.
	uid, err := c.TenantService(ctx, tenant, virtualNamespace, hostService.Name)
	if err != nil || uid != "" {
		return false, err
	}
	// The resource version makes sure that nobody has extended or taken over the reservation meanwhile.
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{
		UID: &hostService.UID, ResourceVersion: &hostService.ResourceVersion,
	}}
	err = c.Host.CoreV1().Services(hostService.Namespace).Delete(ctx, hostService.Name, options)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("delete the unused reservation %s/%s: %w", hostService.Namespace, hostService.Name, err)
	}
	return true, nil
}
