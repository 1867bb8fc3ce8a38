package pod_test

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// testClasses: a class of the host that is not offered is not had by making one of its name in the tenant.
func testClasses(t *testing.T, w *world) {
	namespace := w.namespace(t, "classes")
	offered := map[string]string{mapping.LabelOffer: "true"}
	hidden := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "privileged", Labels: map[string]string{mapping.LabelOffer: "false"}}, Handler: "anything"}
	for _, class := range []client.Object{
		hidden,
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "offered", Labels: offered}, Value: 7},
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "of-the-host"}, Value: 9000},
	} {
		create(t, w.host, class)
		w.seen(t, class)
	}
	create(t, w.tenant, &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "privileged"}, Handler: "anything"})
	for _, name := range []string{"offered", "of-the-host"} {
		create(t, w.tenant, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: 1000000})
	}

	attacker := newPod(namespace, "attacker")
	attacker.Spec.RuntimeClassName = &hidden.Name
	create(t, w.tenant, attacker)
	w.eventOn(t, attacker, engine.ReasonNotSupported)
	if err := w.host.Get(t.Context(), hostKey(attacker), &corev1.Pod{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("it got the runtime: %v", err)
	}
	hidden.Labels = offered
	if err := w.host.Update(t.Context(), hidden); err != nil {
		t.Fatal(err)
	}
	if hostPod := w.hostPod(t, attacker); hostPod.Spec.RuntimeClassName == nil || *hostPod.Spec.RuntimeClassName != hidden.Name {
		t.Errorf("the runtime that is now offered: %v", hostPod.Spec.RuntimeClassName)
	}

	for name, want := range map[string]int32{"offered": 7, "of-the-host": 0} {
		virtualPod := newPod(namespace, name)
		virtualPod.Spec.PriorityClassName = name
		eventually(t, "the tenant's API server knows its class", func(ctx context.Context) error { return w.tenant.Create(ctx, virtualPod) })
		if hostPod := w.hostPod(t, virtualPod); hostPod.Spec.Priority == nil || *hostPod.Spec.Priority != want {
			t.Errorf("class %s: the host pod has the priority %v, want %d", name, hostPod.Spec.Priority, want)
		}
		if want == 0 {
			w.eventOn(t, virtualPod, "NotApplied")
		}
	}
}
