package lab

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

func object(name string, isTerminating bool) *metav1.PartialObjectMetadata {
	item := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if isTerminating {
		item.DeletionTimestamp = &metav1.Time{Time: noon}
	}
	return item
}

func TestRemains(t *testing.T) {
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	r := newRemains()
	r.see(namespaces, watch.Added, object("a", false), at(0))
	r.see("pods", watch.Added, object("p", false), at(0))
	r.complete(at(1))
	r.see(namespaces, watch.Modified, object("a", true), at(2))
	if got := r.ledger.Times(); len(got) != 0 {
		t.Errorf("with a pod left: %v", got)
	}
	// A pod on its way out is still there.
	r.see("pods", watch.Modified, object("p", true), at(3))
	r.see("secrets", watch.Added, object("s", false), at(4))
	r.see("pods", watch.Deleted, object("p", true), at(5))
	if got := r.ledger.Times(); len(got) != 1 {
		t.Errorf("with a Secret and no pod left: %v", got)
	}
	r.see("secrets", watch.Deleted, object("s", false), at(6))
	r.see(namespaces, watch.Modified, object("a", true), at(7))
	r.see(namespaces, watch.Deleted, object("a", true), at(8))
	got, err := r.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Ends{Pods: at(5), Objects: at(6), All: at(8), Last: "secrets"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRemainsAreNotKnownBeforeAllHaveShown(t *testing.T) {
	r := newRemains()
	r.see(namespaces, watch.Added, object("a", true), noon)
	r.see(namespaces, watch.Deleted, object("a", true), noon)
	if got := r.ledger.Times(); len(got) != 0 {
		t.Errorf("pods have not been listed yet: %v", got)
	}
	r.complete(noon)
	if got := r.ledger.Times(); len(got) != 3 {
		t.Errorf("nothing is left: %v", got)
	}
}

func TestRemainsTellWhatIsLeft(t *testing.T) {
	r := newRemains()
	r.see("pods", watch.Added, object("p", false), noon)
	r.complete(noon)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Wait(ctx); err == nil || !strings.Contains(err.Error(), "pods//p") {
		t.Errorf("got %v", err)
	}
}
