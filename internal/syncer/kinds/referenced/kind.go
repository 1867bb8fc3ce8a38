package referenced

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// NewKind makes the engine's kind of a copier: it carries changes down, fills what appears later and removes what nobody
// refers to.
func NewKind(copier *Copier) engine.Kind {
	k := kind{copier: copier, typ: copier.typ, referrers: append([]Referrer{podsOf(copier.typ)}, copier.typ.Referrers...)}
	// Only the metadata is cached: contents are large and, for Secrets, not for keeping.
	triggers := []engine.Trigger{{Side: engine.Virtual, Object: engine.MetadataOnly(k.typ.Empty())}}
	var indexes []engine.Index
	for _, referrer := range k.referrers {
		triggers = append(triggers, engine.Trigger{Side: engine.Virtual, Object: referrer.Object, Keys: referrer.keys, Ignore: sameNames})
		indexes = append(indexes, engine.Index{Side: engine.Virtual, Object: referrer.Object, Field: k.index(referrer), Values: referrer.Names})
	}
	return engine.Kind{
		Name: k.typ.Kind, Object: engine.MetadataOnly(k.typ.Empty()),
		Triggers: triggers, Indexes: indexes,
		Reconcile: k.reconcile,
		Sweep:     k.sweep,
		Stopped:   copier.stopped,
	}
}

type kind struct {
	copier    *Copier
	typ       Type
	referrers []Referrer
}

// index is the name of the index that finds the referrers of an object.
func (k kind) index(referrer Referrer) string { return k.typ.Kind + "/" + referrer.Kind }

func (k kind) reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	found, err := k.references(ctx, scope, key)
	if err != nil {
		return engine.Result{}, err
	}
	if len(found) == 0 {
		if !k.copier.remembers(scope.Tenant.UID, key) {
			return engine.Result{}, nil
		}
		return engine.Result{}, k.copier.remove(ctx, scope, key)
	}
	if !k.copier.remembers(scope.Tenant.UID, key) {
		// Nobody has asked for it yet: those that wait for it ask now.
		wake(scope, found)
		return engine.Result{}, nil
	}
	return engine.Result{}, k.refresh(ctx, scope, key, found)
}

// reference is one object that refers to another.
type reference struct {
	// kind is the engine's kind of the object.
	kind   string
	object client.Object
}

// references are all objects that refer to one.
func (k kind) references(ctx context.Context, scope *engine.Scope, key engine.Key) ([]reference, error) {
	var found []reference
	for _, referrer := range k.referrers {
		list := referrer.List()
		err := scope.VirtualCache.List(ctx, list, client.InNamespace(key.Namespace), client.MatchingFields{k.index(referrer): key.Name})
		if err != nil {
			return nil, fmt.Errorf("list what refers to %s %q: %w", k.typ.Kind, key, err)
		}
		err = meta.EachListItem(list, func(item runtime.Object) error {
			if object, ok := item.(client.Object); ok {
				found = append(found, reference{referrer.Kind, object})
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read what refers to %s %q: %w", k.typ.Kind, key, err)
		}
	}
	return found, nil
}

// refresh writes the host copy if the tenant's object is not the version that was copied.
func (k kind) refresh(ctx context.Context, scope *engine.Scope, key engine.Key, found []reference) error {
	current := engine.MetadataOnly(k.typ.Empty())
	err := scope.VirtualCache.Get(ctx, key.NamespacedName(), current)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("get %s %q: %w", k.typ.Kind, key, err)
	}
	e := k.copier.lock(scope.Tenant.UID, key)
	defer e.mu.Unlock()
	if e.known && e.uid == current.UID && e.version == current.ResourceVersion {
		return nil
	}
	hadContent := e.known && e.uid != ""
	virtualObject := k.typ.Empty()
	err = scope.VirtualClient.Get(ctx, key.NamespacedName(), virtualObject)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("get %s %q: %w", k.typ.Kind, key, err)
	}
	if apierrors.IsNotFound(err) && !e.onHost {
		k.copier.forget(scope.Tenant.UID, key, e) // never copied, and nothing to copy
		return nil
	}
	if apierrors.IsNotFound(err) && k.isRequired(found, key.Name) {
		// As under a kubelet, running pods keep the files that they have; new ones wait.
		e.known, e.uid, e.version = true, "", ""
		return nil
	}
	if err := k.copier.write(ctx, scope, key, e, virtualObject); err != nil {
		return err
	}
	if hasContent := virtualObject.GetUID() != ""; hadContent != hasContent {
		wake(scope, found)
	}
	return nil
}

func (k kind) isRequired(found []reference, name string) bool {
	for _, reference := range found {
		if pod, ok := reference.object.(*corev1.Pod); ok && k.typ.IsRequired(pod, name) {
			return true
		}
	}
	return false
}

// wake looks again at what refers to an object, and may wait for it.
func wake(scope *engine.Scope, found []reference) {
	for _, reference := range found {
		scope.Enqueue(reference.kind, engine.KeyOf(reference.object))
	}
}

// sweep finds the host copies of a tenant after a start, since no watch shows them.
func (k kind) sweep(ctx context.Context, scope *engine.Scope) ([]engine.Key, error) {
	namespaces := &corev1.NamespaceList{}
	err := scope.HostCache.List(ctx, namespaces, client.MatchingLabels{
		mapping.LabelUID: string(scope.Tenant.UID), mapping.LabelKind: mapping.KindMapped,
	})
	if err != nil {
		return nil, fmt.Errorf("list host namespaces: %w", err)
	}
	var keys []engine.Key
	var failed error
	for index := range namespaces.Items {
		found, err := k.sweepNamespace(ctx, scope, namespaces.Items[index].Name)
		keys, failed = append(keys, found...), errors.Join(failed, err)
	}
	return keys, failed
}

func (k kind) sweepNamespace(ctx context.Context, scope *engine.Scope, hostNamespace string) ([]engine.Key, error) {
	list := &metav1.PartialObjectMetadataList{}
	gvk := engine.MetadataOnly(k.typ.Empty()).GroupVersionKind()
	gvk.Kind += "List"
	list.SetGroupVersionKind(gvk)
	err := scope.HostClient.List(ctx, list, client.InNamespace(hostNamespace), client.MatchingLabels{mapping.LabelUID: string(scope.Tenant.UID)})
	if err != nil {
		return nil, &engine.HostError{Action: fmt.Sprintf("list %ss in %q", k.typ.Kind, hostNamespace), Err: err}
	}
	var keys []engine.Key
	for index := range list.Items {
		// What has no tenant UID the agent made for itself.
		if _, isCopy := list.Items[index].Annotations[mapping.AnnotationTenantUID]; !isCopy {
			continue
		}
		if key, ok := scope.TenantKey(&list.Items[index]); ok {
			k.copier.recall(scope.Tenant.UID, key)
			keys = append(keys, key)
		}
	}
	return keys, nil
}
