package event

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// Name of the kind.
const Name = "event"

// turnRetry is when an event comes again that had to wait for its tenant's turn.
const turnRetry = 2 * time.Second

// New returns the kind.
func New() engine.Kind {
	kind := &kind{turns: newTurns()}
	return engine.Kind{
		Name: Name,
		Lane: engine.LaneLast,
		Triggers: []engine.Trigger{
			{Side: engine.Host, Object: &corev1.Event{}, Unfiltered: true, Keys: eventKey},
			// The following wake nothing: events are translated by what their caches know.
			{Side: engine.Host, Object: &corev1.Pod{}, Keys: nothing},
			{Side: engine.Host, Object: &corev1.PersistentVolumeClaim{}, Keys: nothing},
			{Side: engine.Host, Object: &corev1.Service{}, Keys: nothing},
			{Side: engine.Host, Object: &corev1.Node{}, Unfiltered: true, Keys: nothing},
			{Side: engine.Virtual, Object: &corev1.Node{}, Keys: nothing},
		},
		Reconcile: kind.reconcile,
		Stopped:   kind.turns.forget,
	}
}

type kind struct{ turns *turns }

func nothing(*engine.Scope, client.Object) []engine.Key { return nil }

func eventKey(scope *engine.Scope, hostObject client.Object) []engine.Key {
	hostEvent, ok := hostObject.(*corev1.Event)
	if !ok || isOurs(hostEvent) || !isAbout(hostEvent.InvolvedObject) {
		return nil
	}
	namespace, ok := scope.TenantNamespace(hostEvent.Namespace)
	if !ok {
		return nil
	}
	return []engine.Key{{Namespace: namespace, Name: hostEvent.Name}}
}

func (k *kind) reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	hostEvent := &corev1.Event{}
	hostKey := client.ObjectKey{Namespace: scope.HostNamespace(key.Namespace), Name: key.Name}
	if err := scope.HostCache.Get(ctx, hostKey, hostEvent); err != nil {
		return engine.Result{}, wrap("get host", key, client.IgnoreNotFound(err))
	}
	if isOurs(hostEvent) || !isAbout(hostEvent.InvolvedObject) {
		return engine.Result{}, nil
	}
	about, err := subjectOf(ctx, scope, key.Namespace, hostEvent)
	if err != nil || about == nil {
		return engine.Result{}, err
	}
	scrubber, err := scrubberFor(ctx, scope, *about, hostEvent)
	if err != nil {
		return engine.Result{}, err
	}
	return k.write(ctx, scope, key, translate(hostEvent, *about, scrubber.scrub))
}

// write makes or raises the tenant's event, when the tenant has its turn.
func (k *kind) write(ctx context.Context, scope *engine.Scope, key engine.Key, want *corev1.Event) (engine.Result, error) {
	if !k.turns.take(scope.Tenant.UID) {
		return engine.Result{RequeueAfter: turnRetry}, nil
	}
	have := &corev1.Event{}
	err := scope.VirtualClient.Get(ctx, key.NamespacedName(), have)
	switch {
	case apierrors.IsNotFound(err):
		err = scope.VirtualClient.Create(ctx, want)
		if isUnwanted(err) {
			return engine.Result{}, nil
		}
		return engine.Result{}, wrap("create", key, err)
	case err != nil:
		return engine.Result{}, wrap("get", key, err)
	case !isMirror(have) || isUpToDate(have, want):
		return engine.Result{}, nil
	}
	return engine.Result{}, wrap("update", key, client.IgnoreNotFound(scope.VirtualClient.Update(ctx, raise(have, want))))
}

// isUnwanted tells whether a tenant cannot take an event, so that trying again is useless: its namespace is going, or it
// does not admit the event.
func isUnwanted(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsNotFound(err)
}

// subjectOf finds the tenant object that a host event is about, nil for none. The event must be about the very copy,
// not about a predecessor or an object of the host's own.
func subjectOf(ctx context.Context, scope *engine.Scope, namespace string, hostEvent *corev1.Event) (*subject, error) {
	reference := hostEvent.InvolvedObject
	hostObject := emptyOf(reference.Kind)
	hostKey := client.ObjectKey{Namespace: hostEvent.Namespace, Name: reference.Name}
	err := scope.HostCache.Get(ctx, hostKey, hostObject)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get host %s of event %q: %w", reference.Kind, hostEvent.Name, err)
	}
	if err == nil && scope.Owns(hostObject) && (reference.UID == "" || reference.UID == hostObject.GetUID()) {
		uid := types.UID(hostObject.GetAnnotations()[mapping.AnnotationTenantUID])
		key, ok := scope.TenantKey(hostObject)
		if !ok || uid == "" || key.Namespace != namespace {
			return nil, nil
		}
		return &subject{namespace: namespace, name: key.Name, uid: uid, nodeName: nodeOf(hostObject)}, nil
	}
	if reference.Kind != "Pod" {
		return nil, nil
	}
	return formerPod(ctx, scope, namespace, reference)
}

// formerPod is the tenant pod whose host pod is gone already; its last events come after it.
func formerPod(ctx context.Context, scope *engine.Scope, namespace string, reference corev1.ObjectReference) (*subject, error) {
	virtualPod := &corev1.Pod{}
	err := scope.VirtualClient.Get(ctx, client.ObjectKey{Namespace: namespace, Name: reference.Name}, virtualPod)
	if err != nil {
		return nil, wrap("get pod of", engine.Key{Namespace: namespace, Name: reference.Name}, client.IgnoreNotFound(err))
	}
	if reference.UID == "" || virtualPod.Annotations[mapping.AnnotationHostUID] != string(reference.UID) {
		return nil, nil
	}
	return &subject{namespace: namespace, name: virtualPod.Name, uid: virtualPod.UID, nodeName: virtualPod.Spec.NodeName}, nil
}

func emptyOf(kind string) client.Object {
	switch kind {
	case "PersistentVolumeClaim":
		return &corev1.PersistentVolumeClaim{}
	case "Service":
		return &corev1.Service{}
	}
	return &corev1.Pod{}
}

func nodeOf(hostObject client.Object) string {
	if hostPod, ok := hostObject.(*corev1.Pod); ok {
		return hostPod.Spec.NodeName
	}
	return ""
}

// scrubberFor knows the words of the host that an event about this object may have.
func scrubberFor(ctx context.Context, scope *engine.Scope, about subject, hostEvent *corev1.Event) (scrubber, error) {
	hidden, err := hiddenNodeWords(ctx, scope, about.nodeName)
	if err != nil {
		return scrubber{}, err
	}
	return scrubber{
		tenantID:        scope.Tenant.ID,
		hostNamespace:   hostEvent.Namespace,
		tenantNamespace: about.namespace,
		uids:            map[string]string{string(hostEvent.InvolvedObject.UID): string(about.uid), string(about.uid): string(about.uid)},
		hiddenWords:     hidden,
	}, nil
}

// hiddenNodeWords are the names and addresses of the host's nodes that the tenant does not see.
func hiddenNodeWords(ctx context.Context, scope *engine.Scope, ownNode string) (map[string]bool, error) {
	hostNodes, virtualNodes := &corev1.NodeList{}, &corev1.NodeList{}
	if err := scope.HostCache.List(ctx, hostNodes, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list host nodes: %w", err)
	}
	if err := scope.VirtualCache.List(ctx, virtualNodes, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	seen := map[string]bool{ownNode: true}
	for i := range virtualNodes.Items {
		seen[virtualNodes.Items[i].Name] = true
	}
	hidden := map[string]bool{}
	for i := range hostNodes.Items {
		if seen[hostNodes.Items[i].Name] {
			continue
		}
		hidden[hostNodes.Items[i].Name] = true
		for _, address := range hostNodes.Items[i].Status.Addresses {
			hidden[address.Address] = true
		}
	}
	return hidden, nil
}

func wrap(verb string, key engine.Key, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s event %q: %w", verb, key, err)
}
