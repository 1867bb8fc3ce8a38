package integration

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// TestEditedOnHost: what others on the host add to a copy stays, what they change of it is put back and told, and what the host
// itself and the agent do is told to nobody.
func TestEditedOnHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hostNamespace := w.namespace(t, "edited")
	w.run(t)
	edited := func(name string) int {
		events := &corev1.EventList{}
		err := w.virtual.List(t.Context(), events, client.InNamespace("edited"), client.MatchingFields{"reason": engine.ReasonEditedOnHost, "involvedObject.name": name})
		if err != nil {
			t.Fatal(err)
		}
		return len(events.Items)
	}

	const quiet = 5
	for index := range quiet {
		create(t, w.virtual, newService("edited", fmt.Sprintf("quiet-%d", index), fmt.Sprintf("10.96.71.%d", index+1)))
	}
	virtualService := create(t, w.virtual, newService("edited", "web", "10.96.71.100"))
	hostKey := client.ObjectKey{Namespace: hostNamespace, Name: "web"}
	hostService := await(t, w.host, hostKey, &corev1.Service{}, exists)
	t.Run("what others own stays", func(t *testing.T) {
		patch := `{"metadata":{"labels":{"operator":"kept"},"annotations":{"operator.example.com/note":"kept"}},"spec":{"internalTrafficPolicy":"Cluster"}}`
		if err := w.host.Patch(t.Context(), hostService, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("operator")); err != nil {
			t.Fatal(err)
		}
		w.seen(t, hostService)
		change(t, w.virtual, virtualService, func(service *corev1.Service) { service.Labels["team"] = "shop" })
		await(t, w.host, hostKey, hostService, func(service *corev1.Service) error {
			return expect(service.Labels["team"] == "shop" && service.Labels["operator"] == "kept" && service.Annotations["operator.example.com/note"] == "kept",
				"labels %v, annotations %v", service.Labels, service.Annotations)
		})
		for _, entry := range hostService.ManagedFields {
			if entry.Manager == "operator" && !strings.Contains(string(entry.FieldsV1.GetRawBytes()), "f:operator") {
				t.Errorf("the operator owns %s", entry.FieldsV1.GetRawBytes())
			}
		}
	})
	t.Run("what is ours is put back and told", func(t *testing.T) {
		if count := edited("web"); count != 0 {
			t.Fatalf("%d events about edits before there was one", count)
		}
		change(t, w.host, hostService, func(service *corev1.Service) { service.Spec.Selector = map[string]string{"app": "evil"} })
		await(t, w.host, hostKey, hostService, func(service *corev1.Service) error {
			return expect(service.Spec.Selector["app"] == "web", "selector %v", service.Spec.Selector)
		})
		if message := w.awaitEvent(t, "edited", "web", engine.ReasonEditedOnHost); !strings.Contains(message, "spec.selector") {
			t.Errorf("the event says %q", message)
		}
	})
	t.Run("who does not give in is put back ever more rarely", func(t *testing.T) {
		contested := create(t, w.virtual, newService("edited", "contested", "10.96.71.101"))
		key := client.ObjectKey{Namespace: hostNamespace, Name: contested.Name}
		await(t, w.host, key, &corev1.Service{}, exists)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		undone := w.undo(ctx, t, key)
		<-ctx.Done()
		if count := undone.Load(); count < 5 || count > 12 {
			t.Errorf("it was put back %d times in ten seconds, want some times only", count)
		}
		message := ""
		eventually(t, "the tenant knows", func() error {
			message = ""
			events := &corev1.EventList{}
			if err := w.virtual.List(t.Context(), events, client.InNamespace("edited"), client.MatchingFields{"involvedObject.name": contested.Name}); err != nil {
				return err
			}
			for _, event := range events.Items {
				message += event.Message
			}
			return expect(strings.Contains(message, "again and again"), "the events say %q", message)
		})
		// Whatever it is about, what the tenant changes goes down at once.
		change(t, w.virtual, contested, func(service *corev1.Service) { service.Spec.Selector["app"] = "new" })
		await(t, w.host, key, &corev1.Service{}, func(service *corev1.Service) error {
			return expect(service.Spec.Selector["app"] == "new", "selector %v", service.Spec.Selector)
		})
	})
	t.Run("nothing else is told", func(t *testing.T) {
		for index := range quiet {
			name := fmt.Sprintf("quiet-%d", index)
			service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "edited", Name: name}}
			for round := range 5 {
				change(t, w.virtual, service, func(service *corev1.Service) { service.Spec.Selector["round"] = fmt.Sprint(round) })
				copied := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: name}}
				changeStatus(t, w.host, copied, func(service *corev1.Service) {
					service.Status.LoadBalancer.Ingress = nil
					service.Status.Conditions = []metav1.Condition{{Type: "Round", Status: metav1.ConditionTrue, Reason: fmt.Sprint("R", round), LastTransitionTime: metav1.Now()}}
				})
			}
			await(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: name}, service, func(service *corev1.Service) error {
				return expect(service.Spec.Selector["round"] == "4", "selector %v", service.Spec.Selector)
			})
			if count := edited(name); count != 0 {
				t.Errorf("%d events about edits of %s, which nobody has edited", count, name)
			}
		}
	})
}

// undo changes the copy of a Service again whenever it is put back, and counts.
func (w *world) undo(ctx context.Context, t *testing.T, key client.ObjectKey) *atomic.Int64 {
	t.Helper()
	count, ended := &atomic.Int64{}, make(chan struct{})
	go func() {
		defer close(ended)
		for service := (&corev1.Service{}); ctx.Err() == nil; {
			if err := w.host.Get(ctx, key, service); err != nil || service.Spec.Selector["app"] == "evil" {
				continue
			}
			service.Spec.Selector = map[string]string{"app": "evil"}
			if err := w.host.Update(ctx, service); err == nil {
				count.Add(1)
			}
		}
	}()
	t.Cleanup(func() { <-ended })
	return count
}
