package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostusage"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/namespaces"
)

// TestLimits: a tenant that makes ever more gets no further than its bounds on the host, and goes on when it has deleted.
func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.limits = hostusage.Limits{Objects: 40}
	w.ensurer = namespaces.New(newClient(t, w.agentConfig), namespaces.Options{MaxNamespaces: 2})
	hostNamespace := w.namespace(t, "flood")
	w.namespace(t, "second")
	exceeded := (*hostusage.ExceededError)(nil)
	if _, err := w.ensurer.Ensure(t.Context(), w.tenant, "third"); !errors.As(err, &exceeded) {
		t.Errorf("a third namespace: %v", err)
	}
	w.ensurer.Forget(hostNamespace)
	if _, err := w.ensurer.Ensure(t.Context(), w.tenant, "flood"); err != nil {
		t.Errorf("a namespace that is there already: %v", err)
	}

	w.run(t)
	service := func(index int) *corev1.Service {
		// Without an address: a host that gives up a create halfway may keep its address taken for minutes.
		return newService("flood", fmt.Sprintf("web-%d", index), corev1.ClusterIPNone)
	}
	const more = 60
	for index := range more {
		create(t, w.virtual, service(index))
	}
	list := &corev1.ServiceList{}
	onHost := func() map[string]bool {
		if err := w.host.List(t.Context(), list, client.InNamespace(hostNamespace)); err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for index := range list.Items {
			found[list.Items[index].Name] = true
		}
		return found
	}
	refused := func() (names []string) {
		events := &corev1.EventList{}
		if err := w.virtual.List(t.Context(), events, client.InNamespace("flood"), client.MatchingFields{"reason": engine.ReasonLimitReached}); err != nil {
			t.Fatal(err)
		}
		for index := range events.Items {
			names = append(names, events.Items[index].InvolvedObject.Name)
		}
		return names
	}
	eventually(t, "every Service is on the host or refused", func() error {
		found := onHost()
		for _, name := range refused() {
			found[name] = true
		}
		return expect(len(found) == more, "%d are", len(found))
	})
	found := onHost()
	// What is under way while the bound is reached may still come.
	if most := w.limits.Objects + 16; len(found) > most || len(found) < 10 {
		t.Errorf("%d Services are on the host", len(found))
	}
	// All of the few that stay have room then. Of more than fit, nothing says which ones come.
	const few = 4
	var left []string
	for _, name := range refused() {
		if !found[name] && len(left) < few {
			left = append(left, name)
		}
	}
	if len(left) < few {
		t.Fatalf("only %q were refused", left)
	}
	for index := range more {
		if name := fmt.Sprintf("web-%d", index); !slices.Contains(left, name) {
			remove(t, w.virtual, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "flood", Name: name}})
		}
	}
	for _, name := range left {
		// What is refused again and again is tried every two minutes at least.
		eventuallyWithin(t, 150*time.Second, "a Service that was refused", func() error {
			return w.host.Get(t.Context(), client.ObjectKey{Namespace: hostNamespace, Name: name}, &corev1.Service{})
		})
	}
}

// TestTooLarge: a tenant that fills its datastore does not fill the agent's memory; it is let go until it has deleted.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ maxCached, maxTogether int64 }{
		"OfOne": {maxCached: 1 << 20},
		"OfAll": {maxTogether: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.maxCached, w.maxTogether = tc.maxCached, tc.maxTogether
			w.isLetGoWhileItIsTooLarge(t)
		})
	}
}

func (w *world) isLetGoWhileItIsTooLarge(t *testing.T) {
	w.namespace(t, "flood")
	stop := w.run(t)
	note := strings.Repeat("x", 200<<10)
	large := func(index int) *corev1.Service {
		return newService("flood", fmt.Sprintf("large-%d", index), fmt.Sprintf("10.96.80.%d", index+1), func(virtualService *corev1.Service) {
			virtualService.Annotations = map[string]string{"note": note}
		})
	}
	const many = 6
	for index := range many {
		create(t, w.virtual, large(index))
	}
	eventually(t, "the tenant is let go", func() error {
		return expect(!w.engine.Synced(w.tenant.UID) && w.engine.Problem(w.tenant.UID) != "", "problem = %q", w.engine.Problem(w.tenant.UID))
	})
	stop()
	for index := range many - 2 {
		remove(t, w.virtual, large(index))
	}
	w.run(t) // waits until the tenant is served
	if problem := w.engine.Problem(w.tenant.UID); problem != "" {
		t.Errorf("a tenant that has deleted has the problem: %s", problem)
	}
}
