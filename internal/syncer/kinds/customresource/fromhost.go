package customresource

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// fromHost shows a tenant what the host has made in one of its mapped namespaces. What the tenant changes on it is put back.
func fromHost(ctx context.Context, scope *engine.Scope, known state, key engine.Key) error {
	hostObject, isOnHost, err := shown(ctx, scope, known, key)
	if err != nil {
		return err
	}
	virtualObject, isInTenant, err := engine.Get(ctx, scope.VirtualCache, key.NamespacedName(), known.dynamic.Empty())
	if err != nil {
		return err
	}
	isMirror := isInTenant && virtualObject.GetLabels()[mapping.LabelMirror] == "true"
	switch {
	case !isOnHost && !isMirror:
		return nil
	case !isOnHost:
		return removeMirror(ctx, scope, key, virtualObject)
	case isInTenant && !isMirror:
		return engine.Refuse(engine.ReasonNameTaken, "the host shows an object of this name here and yours hides it; delete it or give it another name")
	}
	desired, err := mirrorOf(hostObject, scope, known, key)
	if err != nil {
		return err
	}
	return keep(ctx, scope, known, key, hostObject, virtualObject, desired)
}

// keep makes the tenant's object, nil if there is none, the mirror that is desired, and its status that of the host's object.
func keep(ctx context.Context, scope *engine.Scope, known state, key engine.Key, hostObject, virtualObject, desired *unstructured.Unstructured) error {
	if virtualObject == nil {
		return wrap("create", key, scope.VirtualClient.Create(ctx, desired)) // its status comes when it is seen
	}
	isRepaired, err := repair(ctx, scope, known, virtualObject, desired)
	if apierrors.IsInvalid(err) {
		// A field that cannot change is another on the host. The mirror is made anew when it is seen to be gone.
		return removeMirror(ctx, scope, key, virtualObject)
	}
	if err != nil || isRepaired || !known.hasStatus {
		return wrap("update", key, err)
	}
	return bringStatus(ctx, scope, hostObject, virtualObject, true)
}

func removeMirror(ctx context.Context, scope *engine.Scope, key engine.Key, virtualObject *unstructured.Unstructured) error {
	uid := virtualObject.GetUID()
	return wrap("delete", key, client.IgnoreNotFound(scope.VirtualClient.Delete(ctx, virtualObject, client.Preconditions{UID: &uid})))
}

// shown is the host object of a key, unless it is no business of the tenant's: what the agent itself has made is not.
func shown(ctx context.Context, scope *engine.Scope, known state, key engine.Key) (*unstructured.Unstructured, bool, error) {
	hostNamespace := scope.HostNamespace(key.Namespace)
	if _, isMapped := scope.TenantNamespace(hostNamespace); !isMapped || mapping.IsReserved(key.Name) {
		return nil, false, nil
	}
	hostKey := client.ObjectKey{Namespace: hostNamespace, Name: key.Name}
	hostObject, ok, err := engine.Get(ctx, scope.HostCache, hostKey, known.dynamic.Empty())
	if err != nil || !ok || hostObject.GetLabels()[mapping.LabelUID] != "" || hostObject.GetDeletionTimestamp() != nil {
		return nil, false, err
	}
	return hostObject, true, nil
}

// mirrorOf is what a tenant sees of a host object: its content and nothing of its metadata.
func mirrorOf(hostObject *unstructured.Unstructured, scope *engine.Scope, known state, key engine.Key) (*unstructured.Unstructured, error) {
	return mirrorSaying(contentOf(hostObject, known.hasStatus), scope, known, key)
}

// mirrorSaying is a mirror of this content.
func mirrorSaying(content map[string]any, scope *engine.Scope, known state, key engine.Key) (*unstructured.Unstructured, error) {
	content, _ = mapText(content, scope.Redact).(map[string]any)
	mark, err := fingerprint(content)
	if err != nil {
		return nil, err
	}
	desired := known.dynamic.Empty()
	setContent(desired, content, known.hasStatus)
	desired.SetNamespace(key.Namespace)
	desired.SetName(key.Name)
	desired.SetLabels(map[string]string{mapping.LabelMirror: "true"})
	desired.SetAnnotations(map[string]string{mapping.AnnotationContent: mark})
	return desired, nil
}

// repair makes a mirror what it should be and tells whether that took a write.
func repair(ctx context.Context, scope *engine.Scope, known state, have, desired *unstructured.Unstructured) (bool, error) {
	content := contentOf(desired, known.hasStatus)
	mark := desired.GetAnnotations()[mapping.AnnotationContent]
	if have.GetAnnotations()[mapping.AnnotationContent] == mark && covers(contentOf(have, known.hasStatus), content) {
		return false, nil
	}
	updated := have.DeepCopy()
	setContent(updated, content, known.hasStatus)
	annotations := updated.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[mapping.AnnotationContent] = mark
	updated.SetAnnotations(annotations)
	return true, scope.VirtualClient.Update(ctx, updated)
}

func wrap(verb string, key engine.Key, err error) error {
	if err == nil || apierrors.IsConflict(err) {
		return err
	}
	return fmt.Errorf("%s the mirror %q: %w", verb, key, err)
}
