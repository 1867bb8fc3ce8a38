package endpointslice

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// controllerName is the value of the managed-by label of the controller that makes slices from selectors.
const controllerName = "endpointslice-controller.k8s.io"

// owner tells what the Service of a slice means for it.
type owner struct {
	// isHandMade: the Service exists in the tenant and its endpoints are the tenant's to name.
	isHandMade bool
	// isOnHost: the host Service of that name is the copy of the tenant's, so that the slice gives endpoints to no
	// Service of the host's own.
	isOnHost bool
}

func ownerOf(ctx context.Context, scope *engine.Scope, virtualSlice *discoveryv1.EndpointSlice) (owner, error) {
	name := serviceName(virtualSlice)
	if name == "" || isOwnAddress(virtualSlice.Namespace, name) || virtualSlice.Labels[discoveryv1.LabelManagedBy] == controllerName {
		return owner{}, nil
	}
	key := engine.Key{Namespace: virtualSlice.Namespace, Name: name}
	virtualService, err := get(ctx, scope.VirtualCache, key.NamespacedName(), &corev1.Service{})
	if err != nil || virtualService == nil || !isHandMade(virtualService) {
		return owner{}, err
	}
	hostService, err := get(ctx, scope.HostCache, scope.HostKey(&corev1.Service{}, key), &corev1.Service{})
	if err != nil {
		return owner{}, err
	}
	isOnHost := hostService != nil && scope.IsCopy(hostService, virtualService) && len(hostService.Spec.Selector) == 0
	return owner{isHandMade: true, isOnHost: isOnHost}, nil
}

// isCopy tells a slice that this package made from one that the host's controller made for a host Service of ours: that
// controller copies the Service's labels to its slices, so ownership labels alone prove nothing here.
func isCopy(hostSlice *discoveryv1.EndpointSlice) bool {
	return hostSlice.Labels[discoveryv1.LabelManagedBy] == managedBy
}

// get returns nil for an object that does not exist.
func get[T client.Object](ctx context.Context, reader client.Reader, key client.ObjectKey, empty T) (T, error) {
	var none T
	if err := reader.Get(ctx, key, empty); err != nil {
		if apierrors.IsNotFound(err) {
			return none, nil
		}
		return none, fmt.Errorf("get %T %q: %w", empty, key, err)
	}
	return empty, nil
}
