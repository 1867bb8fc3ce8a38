package lab

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

const namespaces = "namespaces"

// Remains is what is left of what several sources show.
type Remains struct {
	ledger *Ledger

	mu sync.Mutex
	// left is what there is, and whether it is a namespace on its way out; protected by mu.
	left map[string]bool
	// isComplete says that all sources have shown what there is; protected by mu.
	isComplete bool
	// last is the kind of what was the last to go before nothing but terminating namespaces was left; protected by mu.
	last string
}

// The entries of the ledger.
const (
	noPods          = "no pods"
	onlyTerminating = "nothing but terminating namespaces"
	nothing         = "nothing"
)

func newRemains() *Remains {
	return &Remains{ledger: NewLedger("the time"), left: map[string]bool{}}
}

// follow watches until the set of watches stops.
func follow(ctx context.Context, watching *Watching, sources ...*Source) (*Remains, error) {
	r := newRemains()
	for _, source := range sources {
		err := watching.Add(ctx, source, func(what watch.EventType, object runtime.Object, at time.Time) { r.see(source.name, what, object, at) })
		if err != nil {
			return nil, err
		}
	}
	r.complete(time.Now())
	return r, nil
}

func (r *Remains) see(kind string, what watch.EventType, object runtime.Object, at time.Time) {
	item, err := meta.Accessor(object)
	if err != nil {
		return // every object has metadata
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := strings.Join([]string{kind, item.GetNamespace(), item.GetName()}, "/")
	if what == watch.Deleted {
		if delete(r.left, key); kind != namespaces {
			r.last = kind
		}
	} else {
		r.left[key] = kind == namespaces && item.GetDeletionTimestamp() != nil
	}
	r.look(at)
}

func (r *Remains) complete(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isComplete = true
	r.look(at)
}

// look enters what has been reached. r.mu is held.
func (r *Remains) look(at time.Time) {
	if !r.isComplete {
		return
	}
	isOnlyTerminating := true
	hasPods := false
	for key, isTerminating := range r.left {
		isOnlyTerminating = isOnlyTerminating && isTerminating
		hasPods = hasPods || strings.HasPrefix(key, "pods/")
	}
	if !hasPods {
		r.ledger.Mark(noPods, at)
	}
	if !isOnlyTerminating {
		return
	}
	r.ledger.Mark(onlyTerminating, at)
	if len(r.left) == 0 {
		r.ledger.Mark(nothing, at)
	}
}

// Ends are when there were no more of something.
type Ends struct {
	Pods, Objects, All time.Time
	// Last is the kind of the object, but for namespaces, that was the last to go.
	Last string
}

// Wait returns when nothing is left.
func (r *Remains) Wait(ctx context.Context) (Ends, error) {
	if _, err := r.ledger.WaitFor(ctx, nothing); err != nil {
		return Ends{}, fmt.Errorf("%w; left: %s", err, r.some())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	times := r.ledger.Times()
	return Ends{Pods: times[noPods], Objects: times[onlyTerminating], All: times[nothing], Last: r.last}, nil
}

// some of what is left, for an error.
func (r *Remains) some() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []string
	for key := range r.left {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return strings.Join(keys[:min(len(keys), 5)], ", ")
}

// FollowRemains watches all that the host has of a virtual cluster: everything with its label.
func (h *Host) FollowRemains(ctx context.Context, watching *Watching, id string) (*Remains, error) {
	kinds, err := h.namespacedKinds()
	if err != nil {
		return nil, err
	}
	var sources []*Source
	for _, kind := range append(kinds, corev1.SchemeGroupVersion.WithResource(namespaces)) {
		sources = append(sources, labelled(h.Metadata, kind, mapping.LabelID+"="+id))
	}
	return follow(ctx, watching, sources...)
}

// namespacedKinds are those in which the host could have something of a virtual cluster.
func (h *Host) namespacedKinds() ([]schema.GroupVersionResource, error) {
	lists, err := h.Client.Discovery().ServerPreferredNamespacedResources()
	if err != nil {
		return nil, fmt.Errorf("ask for the host's kinds: %w", err)
	}
	filtered := discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "watch", "delete"}}, lists)
	found, err := discovery.GroupVersionResources(filtered)
	if err != nil {
		return nil, err
	}
	var kinds []schema.GroupVersionResource
	for kind := range found {
		// Events belong to nobody, Endpoints are EndpointSlices in an older form, and the object by which a virtual cluster is
		// deleted is not something that it has.
		if kind.Resource != "events" && kind.Resource != "endpoints" && kind.Group != clusterv1alpha1.GroupVersion.Group {
			kinds = append(kinds, kind)
		}
	}
	return kinds, nil
}

// Delete removes virtual clusters and returns when their namespaces are gone.
func (h *Host) Delete(ctx context.Context, tenants ...*Tenant) error {
	for _, tenant := range tenants {
		if err := h.BeginDelete(ctx, tenant); err != nil {
			return err
		}
	}
	for _, tenant := range tenants {
		own := labelled(h.Metadata, corev1.SchemeGroupVersion.WithResource(namespaces), mapping.LabelID+"="+tenant.ID)
		if err := AwaitNone(ctx, fmt.Sprintf("virtual cluster %q", tenant.Name), own); err != nil {
			return err
		}
	}
	return nil
}

// BeginDelete asks for the deletion of a virtual cluster.
func (h *Host) BeginDelete(ctx context.Context, tenant *Tenant) error {
	vc := &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: tenant.Name}}
	if err := h.Objects.Delete(ctx, vc); err != nil {
		return fmt.Errorf("delete virtual cluster %q: %w", tenant.Name, err)
	}
	return nil
}
