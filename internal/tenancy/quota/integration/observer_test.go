package integration

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// observer keeps all changes of pods and of the parts of quotas.
type observer struct {
	mu      sync.Mutex
	changes []change // protected by mu
}

// change is one of a pod or of a ResourceQuota. Their versions are of one datastore, so that both have one order.
type change struct {
	version int64
	watch.Event
}

func (h *host) observe(t *testing.T) *observer {
	t.Helper()
	clients := kubernetes.NewForConfigOrDie(h.config)
	pods, err := clients.CoreV1().Pods("").Watch(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	quotas, err := clients.CoreV1().ResourceQuotas("").Watch(context.Background(), metav1.ListOptions{LabelSelector: mapping.LabelAccountQuota})
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{}
	var group sync.WaitGroup
	for _, events := range []watch.Interface{pods, quotas} {
		group.Go(func() {
			for event := range events.ResultChan() {
				o.see(event)
			}
		})
	}
	t.Cleanup(func() {
		pods.Stop()
		quotas.Stop()
		group.Wait()
	})
	return o
}

func (o *observer) see(event watch.Event) {
	object, ok := event.Object.(metav1.Object)
	if !ok {
		return
	}
	version, err := strconv.ParseInt(object.GetResourceVersion(), 10, 64)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changes = append(o.changes, change{version, event})
}

// endNamespace has no part of any quota.
const endNamespace = metav1.NamespaceDefault

// awaitEnd waits until both watches have brought what is made only now, and so all that was before.
func (o *observer) awaitEnd(t *testing.T, h *host) {
	t.Helper()
	h.create(t, pod(endNamespace, "end", ""))
	h.create(t, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{
		Namespace: endNamespace, Name: "end", Labels: map[string]string{mapping.LabelAccountQuota: "end"},
	}})
	eventually(t, "the observer has seen the end", func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		var pods, quotas bool
		for _, change := range o.changes {
			if object, _ := change.Object.(metav1.Object); object.GetNamespace() != endNamespace {
				continue
			}
			switch change.Object.(type) {
			case *corev1.Pod:
				pods = true
			case *corev1.ResourceQuota:
				quotas = true
			}
		}
		if !pods || !quotas {
			return errors.New("a watch is behind")
		}
		return nil
	})
}

// part is what a namespace has of a quota, and uses.
type part struct{ spec, hard, charged, pods int64 }

// check goes through what was seen, in the order in which it was written. The bounds of all namespaces are never more than the quota,
// and the agent lowers none below what is charged: so no more pods are there than the quota allows, as long as each namespace has no more
// than its own part. That is the host's to see to. Its count forgets, rarely, a pod that is charged and not stored yet.
func (o *observer) check(t *testing.T, h *host, quota int64) {
	t.Helper()
	o.awaitEnd(t, h)
	o.mu.Lock()
	defer o.mu.Unlock()
	slices.SortFunc(o.changes, func(a, b change) int { return cmp.Compare(a.version, b.version) })
	parts := map[string]*part{}
	var made, mistakes, mostPods, mostBounds int64
	for _, change := range o.changes {
		object, _ := change.Object.(metav1.Object)
		namespace := object.GetNamespace()
		if namespace == endNamespace {
			continue
		}
		if parts[namespace] == nil {
			parts[namespace] = &part{}
		}
		of := parts[namespace]
		switch object := change.Object.(type) {
		case *corev1.ResourceQuota:
			before := *of
			of.read(object)
			// The host may set the bound in the status to that in the spec; what is charged stays a claim of the namespace.
			if of.spec < before.spec && of.spec < min(of.charged, before.charged) {
				t.Errorf("version %d lowers the part of %s, %+v, below what is charged: %+v", change.version, namespace, before, *of)
			}
		case *corev1.Pod:
			switch change.Type {
			case watch.Added:
				made, of.pods = made+1, of.pods+1
				if of.pods > of.hard {
					mistakes++
				}
			case watch.Deleted:
				of.pods--
			}
		}
		pods, bounds, beyond := sum(parts)
		mostPods, mostBounds = max(mostPods, pods), max(mostBounds, bounds)
		if pods > quota+beyond {
			t.Errorf("version %d: there are %d pods, more than %d, of which the host has let %d pass beyond the parts of their namespaces", change.version, pods, quota, beyond)
		}
	}
	t.Logf("%d pods were made; there were at most %d, with bounds of %d, of %d; the host has let %d pass by mistake", made, mostPods, mostBounds, quota, mistakes)
	if mostBounds > quota {
		t.Errorf("the bounds were %d together, more than %d", mostBounds, quota)
	}
	if mistakes > made/20 {
		t.Errorf("the host has let %d of %d pods pass by mistake: something makes it count too often", mistakes, made)
	}
}

func (p *part) read(quota *corev1.ResourceQuota) {
	spec, hard, used := quota.Spec.Hard[corev1.ResourcePods], quota.Status.Hard[corev1.ResourcePods], quota.Status.Used[corev1.ResourcePods]
	p.spec, p.hard, p.charged = spec.Value(), hard.Value(), used.Value()
}

func sum(parts map[string]*part) (pods, bounds, beyond int64) {
	for _, p := range parts {
		pods += p.pods
		bounds += max(p.spec, p.hard)
		beyond += max(p.pods-p.hard, 0)
	}
	return pods, bounds, beyond
}
