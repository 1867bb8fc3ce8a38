package customresource

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostcopy"
)

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
		return engine.Result{}, show(ctx, typed, known, objectKey)
	}
	if wantsEverything(known) {
		return engine.Result{}, fromHost(ctx, typed, known, objectKey)
	}
	return toHost(ctx, typed, known, objectKey)
}

// toHost copies a tenant's object to the host, and the copy's status back.
func toHost(ctx context.Context, scope *engine.Scope, known state, key engine.Key) (engine.Result, error) {
	pair, err := hostcopy.Read(ctx, scope, key, known.dynamic.Empty)
	if err != nil {
		return engine.Result{}, err
	}
	if !pair.HasVirtual {
		return engine.Result{}, pair.RemoveOrphan(ctx, scope, known.dynamic.Empty())
	}
	if pair.Virtual.GetDeletionTimestamp() != nil {
		return engine.Result{}, pair.Remove(ctx, scope)
	}
	content := contentOf(pair.Virtual, known.hasStatus)
	if err := known.rules.translate(content, scope.HostNamespace); err != nil {
		return engine.Result{}, err
	}
	mark, err := fingerprint(content)
	if err != nil {
		return engine.Result{}, err
	}
	desired := known.dynamic.Empty()
	setContent(desired, content, known.hasStatus)
	setMeta(desired, scope, pair.Virtual, mark)
	isStale := !pair.HasHost || pair.Host.GetAnnotations()[mapping.AnnotationContent] != mark
	result, err := pair.Write(ctx, scope, desired, func(hostObject *unstructured.Unstructured) {
		if isStale || !covers(contentOf(hostObject, known.hasStatus), content) {
			setContent(hostObject, content, known.hasStatus)
		}
	})
	if err != nil || !known.hasStatus || !pair.HasHost || !scope.IsCopy(pair.Host, pair.Virtual) {
		return result, err
	}
	return result, bringStatus(ctx, scope, pair.Host, pair.Virtual, !isStale)
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
