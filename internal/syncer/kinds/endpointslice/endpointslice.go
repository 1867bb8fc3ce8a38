package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostranges"
)

// Name of the kind.
const Name = "endpointslice"

// Reasons of events on tenant slices.
const (
	// ReasonAddressNotAllowed: the slice names addresses of the host that are not pods of the tenant.
	ReasonAddressNotAllowed = "AddressNotAllowed"
)

const retry = 2 * time.Second

// New returns the kind. ranges tells the addresses of the host.
func New(ranges *hostranges.Source) engine.Kind {
	kind := &kind{ranges: ranges}
	return engine.Kind{
		Name:     Name,
		Object:   &discoveryv1.EndpointSlice{},
		Triggers: triggers(ranges),
		Indexes: []engine.Index{
			{Side: engine.Virtual, Object: &discoveryv1.EndpointSlice{}, Field: indexAddress, Values: sliceAddresses},
			{Side: engine.Host, Object: &corev1.Pod{}, Field: indexPodAddress, Values: func(object client.Object) []string {
				hostPod, ok := object.(*corev1.Pod)
				if !ok {
					return nil
				}
				return podAddresses(hostPod)
			}},
		},
		Reconcile: kind.reconcile,
	}
}

type kind struct{ ranges *hostranges.Source }

func (k *kind) reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	virtualSlice, err := get(ctx, scope.VirtualCache, key.NamespacedName(), &discoveryv1.EndpointSlice{})
	if err != nil {
		return engine.Result{}, err
	}
	hostSlice, err := get(ctx, scope.HostCache, scope.HostKey(&discoveryv1.EndpointSlice{}, key), &discoveryv1.EndpointSlice{})
	if err != nil {
		return engine.Result{}, err
	}
	if hostSlice != nil && !isCopy(hostSlice) {
		// The host's controller made it for a Service with a selector; its labels are those of our host Service.
		hostSlice = nil
	}
	if virtualSlice == nil {
		if hostSlice == nil {
			return engine.Result{}, nil
		}
		return engine.Result{}, scope.DeleteOrphan(ctx, &discoveryv1.EndpointSlice{}, hostSlice)
	}
	owner, err := ownerOf(ctx, scope, virtualSlice)
	if err != nil {
		return engine.Result{}, err
	}
	if !owner.isHandMade || virtualSlice.DeletionTimestamp != nil {
		return engine.Result{}, remove(ctx, scope, hostSlice)
	}
	if virtualSlice.AddressType == discoveryv1.AddressTypeFQDN {
		return engine.Result{}, errors.Join(remove(ctx, scope, hostSlice), engine.Refuse(engine.ReasonNotSupported,
			"addressType FQDN is not supported in a virtual cluster; use IP addresses, or a Service of type ExternalName"))
	}
	if !owner.isOnHost {
		return engine.Result{}, nil // the host Service wakes this key when it is there
	}
	return k.write(ctx, scope, virtualSlice, hostSlice)
}

func (k *kind) write(ctx context.Context, scope *engine.Scope, virtualSlice, hostSlice *discoveryv1.EndpointSlice) (engine.Result, error) {
	ranges, err := k.ranges.Current(ctx)
	if err != nil {
		return engine.Result{}, err
	}
	content := translate(virtualSlice, func(address netip.Addr) bool { return isAllowed(ctx, scope, ranges, address) })
	desired := desiredSlice(scope, virtualSlice, content)
	switch {
	case hostSlice == nil:
		err = create(ctx, scope, virtualSlice, desired)
	case !scope.IsCopy(hostSlice, virtualSlice) || hostSlice.AddressType != virtualSlice.AddressType:
		// Of an earlier slice of this name. What is written is decided from the newest caches, so it may go.
		if err := scope.DeleteHost(ctx, hostSlice); err != nil {
			return engine.Result{}, err
		}
		return engine.Result{RequeueAfter: retry}, nil
	default:
		_, err = engine.UpdateHost(ctx, scope, hostSlice, func(hostSlice *discoveryv1.EndpointSlice) {
			engine.SetHostMeta(hostSlice, desired.ObjectMeta)
			if !equality.Semantic.DeepEqual(hostSlice.Endpoints, desired.Endpoints) {
				hostSlice.Endpoints = desired.Endpoints
			}
			if !equality.Semantic.DeepEqual(hostSlice.Ports, desired.Ports) {
				hostSlice.Ports = desired.Ports
			}
		})
	}
	if err != nil {
		return engine.Result{}, err
	}
	if len(content.refused) > 0 {
		return engine.Result{}, engine.Refuse(ReasonAddressNotAllowed,
			"these addresses belong to the host and are left out: %s; an endpoint may be a running pod of this virtual cluster or an address outside the host's networks",
			strings.Join(abbreviate(content.refused), ", "))
	}
	return engine.Result{}, nil
}

func desiredSlice(scope *engine.Scope, virtualSlice *discoveryv1.EndpointSlice, content translation) *discoveryv1.EndpointSlice {
	bare := virtualSlice.DeepCopy()
	bare.Labels = withoutControllers(bare.Labels)
	bare.Annotations = nil
	meta := scope.HostMeta(bare)
	for key, value := range hostLabels(virtualSlice) {
		meta.Labels[key] = value
	}
	return &discoveryv1.EndpointSlice{
		ObjectMeta: meta, AddressType: virtualSlice.AddressType, Endpoints: content.endpoints, Ports: content.ports,
	}
}

func create(ctx context.Context, scope *engine.Scope, virtualSlice, desired *discoveryv1.EndpointSlice) error {
	hostSlice := desired.DeepCopy()
	err := scope.CreateHost(ctx, virtualSlice, hostSlice)
	if !errors.Is(err, engine.ErrPredecessor) {
		return err
	}
	if !isCopy(hostSlice) {
		return engine.Refuse(engine.ReasonNameTaken,
			"the host's controller has an EndpointSlice named %q of a Service with a selector; choose another name", hostSlice.Name)
	}
	if err := scope.DeleteHost(ctx, hostSlice); err != nil {
		return err
	}
	return fmt.Errorf("create endpointslice %q: %w", client.ObjectKeyFromObject(hostSlice), engine.ErrPredecessor)
}

// remove deletes the copy of a slice that must not be on the host (any more). Nil is no copy.
func remove(ctx context.Context, scope *engine.Scope, hostSlice *discoveryv1.EndpointSlice) error {
	if hostSlice == nil || hostSlice.DeletionTimestamp != nil {
		return nil
	}
	return scope.DeleteHost(ctx, hostSlice)
}

// isAllowed tells whether the tenant may make an address an endpoint of its Service.
func isAllowed(ctx context.Context, scope *engine.Scope, ranges *hostranges.Ranges, address netip.Addr) bool {
	if !ranges.IsProtected(address) {
		return true
	}
	if hostranges.IsUnsafe(address) {
		return false
	}
	hostPods := &corev1.PodList{}
	if err := scope.HostCache.List(ctx, hostPods, client.MatchingFields{indexPodAddress: address.String()}); err != nil {
		return false
	}
	for i := range hostPods.Items {
		if scope.Owns(&hostPods.Items[i]) {
			return true
		}
	}
	return false
}

// abbreviate keeps a message of a slice with a thousand addresses readable.
func abbreviate(addresses []string) []string {
	const shown = 10
	if len(addresses) <= shown {
		return addresses
	}
	return append(addresses[:shown:shown], fmt.Sprintf("and %d more", len(addresses)-shown))
}
