package customresource

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostcopy"
)

// watchesEverything tells whether host objects count that the agent did not make: for what is shown, and for names that others have.
func watchesEverything(now state) bool { return wantsEverything(now) || now.builtIn.unique != "" }

func wantsEverything(now state) bool { return now.asked.Direction == clusterv1alpha1.SyncFromHost }

func (s *Source) reconcileObject(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	name, objectKey := engine.SplitDynamic(key)
	known, ok := s.stateOf(scope.Tenant.UID, name)
	if !ok || !known.isWell() {
		return engine.Result{}, nil // looked at again when that passes
	}
	typed, dynamic, ok := scope.Dynamic(name)
	if !ok || dynamic != known.dynamic {
		return engine.Result{}, nil // looked at again when the caches are filled
	}
	if known.builtIn.show != nil {
		if err := show(ctx, typed, known, objectKey); err != nil {
			return engine.Result{}, err
		}
		return engine.Result{}, s.wakeDependent(ctx, scope, name)
	}
	if wantsEverything(known) {
		return engine.Result{}, fromHost(ctx, typed, known, objectKey)
	}
	return toHost(ctx, scope, typed, known, objectKey)
}

// wakeDependent looks again at the objects that are decided about by those of a kind that is shown.
func (s *Source) wakeDependent(ctx context.Context, scope *engine.Scope, needed string) error {
	for _, asked := range scope.Tenant.Spec.Sync.CustomResources {
		if !slices.Contains(builtIns[asked.Name].needs, needed) {
			continue
		}
		keys, err := keysOf(ctx, scope, asked.Name)
		if err != nil {
			return err
		}
		for _, key := range keys {
			scope.Enqueue(kindObject, key)
		}
	}
	return nil
}

// keysOf are the keys of the tenant's objects of a kind that is followed.
func keysOf(ctx context.Context, scope *engine.Scope, name string, options ...client.ListOption) ([]engine.Key, error) {
	typed, dynamic, ok := scope.Dynamic(name)
	if !ok {
		return nil, nil // all of them are looked at when it is
	}
	list := listOf(dynamic)
	if err := typed.VirtualCache.List(ctx, list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("list %s: %w", name, err)
	}
	var keys []engine.Key
	for index := range list.Items {
		keys = append(keys, engine.DynamicKey(name, engine.KeyOf(&list.Items[index])))
	}
	return keys, nil
}

func listOf(dynamic engine.Dynamic) *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(dynamic.GVK.GroupVersion().WithKind(dynamic.GVK.Kind + "List"))
	return list
}

// toHost copies a tenant's object to the host, and the copy's status back.
func toHost(ctx context.Context, scope, typed *engine.Scope, known state, key engine.Key) (engine.Result, error) {
	pair, err := hostcopy.Read(ctx, typed, key, known.dynamic.Empty)
	if err != nil {
		return engine.Result{}, err
	}
	if !pair.HasVirtual {
		return engine.Result{}, pair.RemoveOrphan(ctx, typed, known.dynamic.Empty())
	}
	if pair.Virtual.GetDeletionTimestamp() != nil {
		return engine.Result{}, pair.Remove(ctx, typed)
	}
	t := translating{scope: scope, typed: typed, known: known, pair: pair, content: contentOf(pair.Virtual, known.hasStatus)}
	if err := checkNotMade(ctx, t); err != nil {
		return engine.Result{}, err
	}
	err = translate(ctx, t)
	if refusal := (*engine.Refusal)(nil); errors.As(err, &refusal) {
		if t.pair.Virtual, err = readAgain(ctx, typed, t.pair.Virtual); err != nil || t.pair.Virtual == nil {
			return engine.Result{}, err
		}
		t.content = contentOf(t.pair.Virtual, known.hasStatus)
		err = translate(ctx, t)
	}
	if err != nil {
		return engine.Result{}, refused(ctx, t, err)
	}
	return write(ctx, t)
}

// readAgain returns a tenant's object as its API server has it now. For a moment after the definition changed, a watch shows objects with the
// defaults of before: what is refused may be one of them. It returns nil for one that is gone, is being deleted or is another by now, which
// the watch will tell, too; and for an answer about something else, which a tenant's API server may give.
func readAgain(ctx context.Context, typed *engine.Scope, virtualObject *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	key, empty := client.ObjectKeyFromObject(virtualObject), &unstructured.Unstructured{}
	empty.SetGroupVersionKind(virtualObject.GroupVersionKind())
	now, ok, err := engine.Get(ctx, typed.VirtualClient, key, empty)
	if err != nil {
		return nil, err
	}
	if !ok || now.GetUID() != virtualObject.GetUID() || client.ObjectKeyFromObject(now) != key || now.GetDeletionTimestamp() != nil {
		return nil, nil //nolint:nilnil // there is nothing to look at again
	}
	return now, nil
}

func translate(ctx context.Context, t translating) error {
	known := t.known.builtIn
	if known.translate == nil {
		return t.known.rules.translate(t.content, t.scope.HostNamespace)
	}
	if err := known.translate(ctx, t); err != nil {
		return err
	}
	spec := fieldsOf(t.content, "spec")
	settled, isSettled := spec[known.settled]
	delete(spec, known.settled)
	err := t.known.rules.translate(t.content, t.scope.HostNamespace)
	if isSettled {
		spec[known.settled] = settled
	}
	return err
}

// refused takes an object that must not be served from the host, if it is of a kind of which that is a matter of course: of others
// the last good copy stays.
func refused(ctx context.Context, t translating, err error) error {
	var refusal *engine.Refusal
	isNotForHost := errors.Is(err, errNotForHost)
	isWithdrawn := t.known.builtIn.withdraws && errors.As(err, &refusal)
	if !isNotForHost && !isWithdrawn {
		return err
	}
	if err := t.pair.Remove(ctx, t.typed); err != nil {
		return err
	}
	if clearErr := clearStatus(ctx, t); clearErr != nil || isNotForHost {
		return clearErr
	}
	return err
}

// clearStatus takes back what the host has said of an object that is on the host no longer.
func clearStatus(ctx context.Context, t translating) error {
	if t.known.builtIn.status == nil || t.pair.Virtual.Object["status"] == nil {
		return nil
	}
	status := t.known.builtIn.status(t, nil)
	return engine.PatchVirtualStatus(ctx, t.typed, t.pair.Virtual, func(virtualObject *unstructured.Unstructured) {
		virtualObject.Object["status"] = status
	})
}

func write(ctx context.Context, t translating) (engine.Result, error) {
	known, pair := t.known, t.pair
	mark, err := fingerprint(t.content)
	if err != nil {
		return engine.Result{}, err
	}
	desired := known.dynamic.Empty()
	setContent(desired, t.content, known.hasStatus)
	setMeta(desired, t.typed, pair.Virtual, mark)
	if known.builtIn.isMadeOnce != nil && !pair.HasHost {
		return engine.Result{}, makeOnce(ctx, t, desired)
	}
	isStale := !pair.HasHost || pair.Host.GetAnnotations()[mapping.AnnotationContent] != mark
	result, err := pair.Write(ctx, t.typed, desired, func(hostObject *unstructured.Unstructured) {
		if isStale || !covers(contentOf(hostObject, known.hasStatus), t.content) {
			setContent(hostObject, t.content, known.hasStatus)
		}
	})
	if err != nil || !known.hasStatus || !pair.HasHost || !t.typed.IsCopy(pair.Host, pair.Virtual) {
		return result, err
	}
	hostObject := pair.Host
	if known.builtIn.status != nil {
		hostObject = hostObject.DeepCopy()
		hostObject.Object["status"] = known.builtIn.status(t, fieldsOf(hostObject.Object, "status"))
	}
	return result, bringStatus(ctx, t.typed, hostObject, pair.Virtual, !isStale)
}

func setMeta(desired *unstructured.Unstructured, scope *engine.Scope, virtualObject *unstructured.Unstructured, mark string) {
	meta := scope.HostMeta(virtualObject)
	meta.Annotations[mapping.AnnotationContent] = mark
	desired.SetName(meta.Name)
	desired.SetNamespace(meta.Namespace)
	desired.SetLabels(meta.Labels)
	desired.SetAnnotations(meta.Annotations)
}

// bringStatus makes a tenant's status what the host's is. isCurrent tells whether the host has the content that the tenant's
// generation stands for.
func bringStatus(ctx context.Context, scope *engine.Scope, hostObject, virtualObject *unstructured.Unstructured, isCurrent bool) error {
	hostStatus, ok := hostObject.Object["status"]
	if !ok {
		return nil // nothing was said yet, or not any more: a status that is there is not taken back
	}
	status := mapText(hostStatus, scope.Redact)
	mapGenerations(status, func(observed int64) int64 {
		if isCurrent && observed == hostObject.GetGeneration() {
			return virtualObject.GetGeneration()
		}
		return max(virtualObject.GetGeneration()-1, 0)
	})
	return engine.PatchVirtualStatus(ctx, scope, virtualObject, func(virtualObject *unstructured.Unstructured) {
		virtualObject.Object["status"] = status
	})
}
