package engine

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// sweepHost queues everything that the host has of the tenant: copies whose tenant object vanished while nobody
// looked are found by it.
func (r *tenantRun) sweepHost(ctx context.Context) { r.sweep(ctx, Host, r.engine.hostCache) }

// sweepVirtual queues everything that the tenant has.
func (r *tenantRun) sweepVirtual(ctx context.Context) { r.sweep(ctx, Virtual, r.cache) }

func (r *tenantRun) sweep(ctx context.Context, side Side, from client.Reader) {
	for index, kind := range r.engine.kinds {
		for _, trigger := range kind.Triggers {
			if trigger.Side != side {
				continue
			}
			objects, err := listAll(ctx, from, trigger.Object)
			if err != nil {
				r.engine.log.Error("Cannot list for the sweep", "kind", kind.Name, "side", side.String(), "error", err)
				continue
			}
			for _, object := range objects {
				if side == Virtual || r.concerns(object) {
					r.engine.enqueueFrom(r, index, trigger, object, cause{})
				}
			}
		}
	}
}

func (r *tenantRun) concerns(hostObject client.Object) bool {
	for _, run := range r.engine.concerned(hostObject) {
		if run == r {
			return true
		}
	}
	return false
}

// listAll lists a type from a cache. The objects are the cache's own: they are only read.
func listAll(ctx context.Context, from client.Reader, empty client.Object) ([]client.Object, error) {
	gvk := gvkOf(empty)
	gvk.Kind += "List"
	var list client.ObjectList
	if _, ok := empty.(*metav1.PartialObjectMetadata); ok {
		partial := &metav1.PartialObjectMetadataList{}
		partial.SetGroupVersionKind(gvk)
		list = partial
	} else {
		object, err := Scheme.New(gvk)
		if err != nil {
			return nil, err
		}
		list, _ = object.(client.ObjectList)
	}
	if err := from.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var objects []client.Object
	err := meta.EachListItem(list, func(item runtime.Object) error {
		if object, ok := item.(client.Object); ok {
			objects = append(objects, object)
		}
		return nil
	})
	return objects, err
}

// sweepKinds asks the kinds for what no trigger watches. A kind that fails is asked again: without its keys copies
// would be left behind.
func (r *tenantRun) sweepKinds(ctx context.Context) {
	for index, kind := range r.engine.kinds {
		if kind.Sweep == nil {
			continue
		}
		for failures := 1; ; failures++ {
			keys, err := sweepOf(ctx, kind, r.scope())
			for _, key := range keys {
				r.engine.queue.add(r.uid, work{kind: index, key: key})
			}
			if err == nil || ctx.Err() != nil {
				break
			}
			r.engine.log.Error("Sweep failed", "kind", kind.Name, "vcluster", r.name(), "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(backOff(failures, time.Second)):
			}
		}
	}
}

// sweepAsked queues what the tenant's spec asks for.
func (r *tenantRun) sweepAsked() {
	for index, kind := range r.engine.kinds {
		if kind.Asked == nil {
			continue
		}
		for _, key := range kind.Asked(*r.tenant.Load()) {
			r.engine.queue.add(r.uid, work{kind: index, key: key})
		}
	}
}

func (r *tenantRun) name() string {
	tenant := r.tenant.Load()
	return tenant.Namespace + "/" + tenant.Name
}
