package referenced

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// NewKind makes the engine's kind of a copier: it carries changes down, fills what appears later and removes what no
// pod refers to.
func NewKind(copier *Copier) engine.Kind {
	k := kind{copier: copier, typ: copier.typ, index: copier.typ.Kind + "/pods"}
	return engine.Kind{
		Name: k.typ.Kind, Object: engine.MetadataOnly(k.typ.Empty()),
		Triggers: []engine.Trigger{
			// Only the metadata is cached: contents are large and, for Secrets, not for keeping.
			{Side: engine.Virtual, Object: engine.MetadataOnly(k.typ.Empty())},
			{Side: engine.Virtual, Object: &corev1.Pod{}, Keys: k.podKeys, Ignore: k.sameNames},
		},
		Indexes:   []engine.Index{{Side: engine.Virtual, Object: &corev1.Pod{}, Field: k.index, Values: k.indexValues}},
		Reconcile: k.reconcile,
		Sweep:     k.sweep,
		Stopped:   copier.stopped,
	}
}

type kind struct {
	copier *Copier
	typ    Type
	index  string
}

func (k kind) indexValues(object client.Object) []string {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return nil
	}
	return k.typ.Names(pod)
}

func (k kind) podKeys(_ *engine.Scope, object client.Object) []engine.Key {
	names := k.indexValues(object)
	keys := make([]engine.Key, 0, len(names))
	for _, name := range names {
		keys = append(keys, engine.Key{Namespace: object.GetNamespace(), Name: name})
	}
	return keys
}

// sameNames drops updates of pods that change no reference: those of status, mostly.
func (k kind) sameNames(old, new client.Object) bool {
	return old.GetGeneration() == new.GetGeneration()
}

func (k kind) reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	pods := &corev1.PodList{}
	err := scope.VirtualCache.List(ctx, pods, client.InNamespace(key.Namespace), client.MatchingFields{k.index: key.Name})
	if err != nil {
		return engine.Result{}, fmt.Errorf("list pods that refer to %s %q: %w", k.typ.Kind, key, err)
	}
	if len(pods.Items) == 0 {
		if !k.copier.remembers(scope.Tenant.UID, key) {
			return engine.Result{}, nil
		}
		return engine.Result{}, k.copier.remove(ctx, scope, key)
	}
	if !k.copier.remembers(scope.Tenant.UID, key) {
		// No pod has asked for it yet: those that wait for it ask now.
		k.wake(scope, pods.Items)
		return engine.Result{}, nil
	}
	return engine.Result{}, k.refresh(ctx, scope, key, pods.Items)
}

// refresh writes the host copy if the tenant's object is not the version that was copied.
func (k kind) refresh(ctx context.Context, scope *engine.Scope, key engine.Key, pods []corev1.Pod) error {
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
	if apierrors.IsNotFound(err) && k.isRequired(pods, key.Name) {
		// As under a kubelet, running pods keep the files that they have; new ones wait.
		e.known, e.uid, e.version = true, "", ""
		return nil
	}
	if err := k.copier.write(ctx, scope, key, e, virtualObject); err != nil {
		return err
	}
	if !hadContent {
		k.wake(scope, pods)
	}
	return nil
}

func (k kind) isRequired(pods []corev1.Pod, name string) bool {
	for index := range pods {
		if k.typ.IsRequired(&pods[index], name) {
			return true
		}
	}
	return false
}

// wake looks again at pods, some of which may wait for the object.
func (k kind) wake(scope *engine.Scope, pods []corev1.Pod) {
	for index := range pods {
		scope.Enqueue("pod", engine.KeyOf(&pods[index]))
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
