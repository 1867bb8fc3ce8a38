package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// Name of the kind.
const Name = "service"

// ReasonAddressTaken is the reason of the event on a tenant Service whose addresses the host has given away.
const ReasonAddressTaken = reasonAddressTaken

// predecessorRetry is how long to wait for the host to let go of an earlier Service of the same name, if its deletion is
// not seen.
const predecessorRetry = 2 * time.Second

// New returns the kind. The clock tells when a reservation has expired; nil means time.Now.
func New(now func() time.Time) engine.Kind {
	if now == nil {
		now = time.Now
	}
	kind := &kind{now: now}
	return engine.Kind{
		Name:   Name,
		Object: &corev1.Service{},
		Triggers: []engine.Trigger{
			{Side: engine.Virtual, Object: &corev1.Service{}},
			{Side: engine.Host, Object: &corev1.Service{}},
		},
		Reconcile: kind.reconcile,
	}
}

type kind struct{ now func() time.Time }

func (k *kind) reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	if isOwnAddress(key.Namespace, key.Name) {
		return engine.Result{}, nil
	}
	virtualService, err := get(ctx, scope.VirtualCache, key.NamespacedName())
	if err != nil {
		return engine.Result{}, err
	}
	hostService, err := get(ctx, scope.HostCache, scope.HostKey(&corev1.Service{}, key))
	if err != nil {
		return engine.Result{}, err
	}
	switch {
	case virtualService == nil && hostService == nil:
		return engine.Result{}, nil
	case virtualService == nil:
		return k.collect(ctx, scope, key, hostService)
	case hostService == nil && virtualService.DeletionTimestamp != nil:
		return engine.Result{}, nil
	case hostService == nil:
		return k.create(ctx, scope, virtualService)
	}
	return k.update(ctx, scope, virtualService, hostService)
}

// create makes the host Service with the addresses that the tenant Service has. Often the cache has only not yet shown
// the reservation, which is then taken over.
func (k *kind) create(ctx context.Context, scope *engine.Scope, virtualService *corev1.Service) (engine.Result, error) {
	hostService := &corev1.Service{ObjectMeta: scope.HostMeta(virtualService), Spec: hostSpec(virtualService)}
	err := scope.CreateHost(ctx, virtualService, hostService)
	if errors.Is(err, engine.ErrPredecessor) {
		return k.update(ctx, scope, virtualService, hostService)
	}
	if len(takenFields(err)) > 0 {
		return k.createTaken(ctx, scope, virtualService, err)
	}
	if err != nil {
		return engine.Result{}, err
	}
	return finish(ctx, scope, virtualService, hostService)
}

// createTaken is called when an address of a new host Service is taken. The host looks at addresses before it looks at
// names: who has them may be the very Service, which the cache only has not shown yet.
func (k *kind) createTaken(ctx context.Context, scope *engine.Scope, virtualService *corev1.Service, err error) (engine.Result, error) {
	hostKey := scope.HostKey(virtualService, engine.KeyOf(virtualService))
	live, getErr := get(ctx, scope.HostClient, hostKey)
	if getErr != nil {
		return engine.Result{}, &engine.HostError{Action: fmt.Sprintf("get service %q", hostKey), Err: getErr}
	}
	if live != nil {
		return k.update(ctx, scope, virtualService, live)
	}
	return engine.Result{}, addressTaken(ctx, scope, virtualService, err)
}

func (k *kind) update(ctx context.Context, scope *engine.Scope, virtualService, hostService *corev1.Service) (engine.Result, error) {
	isOurs := scope.IsCopy(hostService, virtualService) || scope.Owns(hostService) && isReservation(hostService)
	if !isOurs || hasOtherAddress(virtualService, hostService) {
		return replace(ctx, scope, virtualService, hostService)
	}
	if hostService.DeletionTimestamp != nil {
		// Somebody deletes it on the host. It is made again when it is gone.
		return engine.Result{RequeueAfter: predecessorRetry}, nil
	}
	meta := scope.HostMeta(virtualService)
	hostService, err := engine.UpdateHost(ctx, scope, hostService, func(hostService *corev1.Service) {
		engine.SetHostMeta(hostService, meta)
		delete(hostService.Annotations, mapping.AnnotationReservedUntil)
		hostService.Spec = mergeSpec(hostService.Spec, hostSpec(virtualService))
	})
	if err != nil {
		return engine.Result{}, addressTaken(ctx, scope, virtualService, err)
	}
	return finish(ctx, scope, virtualService, hostService)
}

// replace removes a host Service of this tenant that cannot become the copy: it belongs to an earlier Service of the
// same name, or has another ClusterIP, which cannot be changed.
func replace(ctx context.Context, scope *engine.Scope, virtualService, hostService *corev1.Service) (engine.Result, error) {
	if !scope.Owns(hostService) {
		return engine.Result{}, engine.Refuse(engine.ReasonNameTaken,
			"the host already has a Service named %q here that is not yours; choose another name, or ask the operator to remove it", hostService.Name)
	}
	if hostService.DeletionTimestamp == nil {
		// The cached tenant Service may be the old one. A live look keeps the copy of the new one from being deleted.
		live := &corev1.Service{}
		if err := scope.VirtualClient.Get(ctx, client.ObjectKeyFromObject(virtualService), live); err != nil {
			return engine.Result{}, fmt.Errorf("get service %q: %w", client.ObjectKeyFromObject(virtualService), err)
		}
		if live.UID != virtualService.UID || live.ResourceVersion != virtualService.ResourceVersion {
			return engine.Result{RequeueAfter: predecessorRetry}, nil
		}
		if err := scope.DeleteHost(ctx, hostService); err != nil {
			return engine.Result{}, err
		}
	}
	return engine.Result{RequeueAfter: predecessorRetry}, nil
}

// collect removes a host Service that has no tenant Service. A reservation may be waiting for one.
func (k *kind) collect(ctx context.Context, scope *engine.Scope, key engine.Key, hostService *corev1.Service) (engine.Result, error) {
	if hostService.DeletionTimestamp != nil {
		return engine.Result{}, nil
	}
	if !isReservation(hostService) {
		return engine.Result{}, scope.DeleteOrphan(ctx, &corev1.Service{}, hostService)
	}
	if left := reservedUntil(hostService).Sub(k.now()); left > 0 {
		return engine.Result{RequeueAfter: left}, nil
	}
	if !scope.Owns(hostService) {
		return engine.Result{}, nil
	}
	err := scope.VirtualClient.Get(ctx, key.NamespacedName(), engine.MetadataOnly(&corev1.Service{}))
	if err == nil {
		return engine.Result{RequeueAfter: predecessorRetry}, nil // the cache will show it
	}
	if !apierrors.IsNotFound(err) {
		return engine.Result{}, fmt.Errorf("get service %q: %w", key, err)
	}
	// The door may renew the reservation at this moment: delete only what was read.
	uid, version := hostService.UID, hostService.ResourceVersion
	err = scope.HostClient.Delete(ctx, hostService, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if client.IgnoreNotFound(err) != nil {
		return engine.Result{}, &engine.HostError{Action: fmt.Sprintf("delete reservation %q", client.ObjectKeyFromObject(hostService)), Err: err}
	}
	return engine.Result{}, nil
}

// finish brings the status up and tells what of the Service could not go down.
func finish(ctx context.Context, scope *engine.Scope, virtualService, hostService *corev1.Service) (engine.Result, error) {
	err := engine.PatchVirtualStatus(ctx, scope, virtualService, func(virtualService *corev1.Service) {
		virtualService.Status = virtualStatus(virtualService, hostService)
		for i := range virtualService.Status.Conditions {
			condition := &virtualService.Status.Conditions[i]
			condition.Message = scope.Redact(condition.Message)
		}
	})
	if err != nil {
		return engine.Result{}, err
	}
	if refused := refusedExternalIPs(virtualService); len(refused) > 0 {
		return engine.Result{}, engine.Refuse(engine.ReasonNotSupported,
			"spec.externalIPs (%s) is ignored: the host's nodes do not take over addresses for a virtual cluster; use a Service of type LoadBalancer or NodePort, and remove spec.externalIPs",
			strings.Join(refused, ", "))
	}
	return engine.Result{}, nil
}

// addressTaken tells the tenant, in a condition and by the refusal that it returns, that an address of its Service is
// somebody else's now. Other errors are returned as they are.
func addressTaken(ctx context.Context, scope *engine.Scope, virtualService *corev1.Service, err error) error {
	fields := takenFields(err)
	if len(fields) == 0 {
		return err
	}
	message := fmt.Sprintf("the host cannot give this Service its addresses (%s): they were given to another Service after the host lost this one; delete the Service and create it again to get new ones",
		strings.Join(fields, ", "))
	patchErr := engine.PatchVirtualStatus(ctx, scope, virtualService, func(virtualService *corev1.Service) {
		virtualService.Status = addressTakenStatus(virtualService, message)
	})
	if patchErr != nil {
		return patchErr
	}
	return engine.Refuse(ReasonAddressTaken, "%s", message)
}

func get(ctx context.Context, reader client.Reader, key client.ObjectKey) (*corev1.Service, error) {
	service := &corev1.Service{}
	if err := reader.Get(ctx, key, service); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("get service %q: %w", key, err)
	}
	return service, nil
}
