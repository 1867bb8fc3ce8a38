package integration

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// testClasses: what is common to all classes that are mirrored.
func testClasses(t *testing.T, w *world) {
	const controller, other = "example.com/controller", "example.com/other"
	t.Run("ingressclass", func(t *testing.T) {
		testClass(t, w, &networkingv1.IngressClass{Spec: networkingv1.IngressClassSpec{Controller: controller}},
			func(class *networkingv1.IngressClass) {
				class.Annotations = map[string]string{networkingv1.AnnotationIsDefaultIngressClass: "true"}
			},
			func(class *networkingv1.IngressClass) error {
				return expect(class.Spec.Controller == controller && class.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "", "class is %+v", class)
			},
			func(class *networkingv1.IngressClass) { class.Spec.Controller = other })
	})
	t.Run("runtimeclass", func(t *testing.T) {
		testClass(t, w, &nodev1.RuntimeClass{Handler: "kata"},
			func(class *nodev1.RuntimeClass) {
				class.Scheduling = &nodev1.Scheduling{NodeSelector: map[string]string{"zone": "tenant"}}
			},
			func(class *nodev1.RuntimeClass) error {
				return expect(class.Handler == "kata" && class.Scheduling == nil, "class is %+v", class)
			},
			func(class *nodev1.RuntimeClass) { class.Handler = "runc" })
	})
	t.Run("priorityclass", func(t *testing.T) {
		testClass(t, w, &schedulingv1.PriorityClass{Value: 10, Description: "batch"},
			func(class *schedulingv1.PriorityClass) { class.Description = "mine" },
			func(class *schedulingv1.PriorityClass) error {
				return expect(class.Value == 10 && class.Description == "batch" && !class.GlobalDefault, "class is %+v", class)
			},
			func(class *schedulingv1.PriorityClass) { class.Value = 20 })
	})
}

// testClass takes a host class through its life. edit is what a tenant does to the mirror, isMirror what the mirror must be, and
// differ makes another class of it, which cannot be updated into.
func testClass[T client.Object](t *testing.T, w *world, hostClass T, edit func(T), isMirror func(T) error, differ func(T)) {
	empty := func() T {
		made, _ := hostClass.DeepCopyObject().(T)
		made.SetName("")
		return made
	}
	named := func(name string, labels map[string]string) T {
		made := empty()
		made.SetName(name)
		made.SetLabels(labels)
		return made
	}
	isMarked := func(class T) error {
		if class.GetLabels()[mapping.LabelMirror] != "true" {
			return expect(false, "labels are %v", class.GetLabels())
		}
		return isMirror(class)
	}
	offered := map[string]string{mapping.LabelOffer: "true"}
	key := client.ObjectKey{Name: "class-shown"}
	own := create(t, w.virtual, named("class-own", nil))
	create(t, w.host, named("class-own", offered))
	shown := create(t, w.host, named(key.Name, offered))
	mirror := await(t, w.virtual, key, empty(), isMarked)
	change(t, w.virtual, mirror, edit)
	await(t, w.virtual, key, empty(), isMarked)
	remove(t, w.virtual, mirror)
	await(t, w.virtual, key, empty(), isMarked)

	// The host's class is made anew, differently.
	remove(t, w.host, shown)
	different := named(key.Name, offered)
	differ(different)
	create(t, w.host, different)
	await(t, w.virtual, key, empty(), func(class T) error { return expect(isMirror(class) != nil, "the mirror is as it was") })

	change(t, w.host, different, func(class T) { class.SetLabels(map[string]string{mapping.LabelOffer: "false"}) })
	awaitGone(t, w.virtual, key, empty())
	change(t, w.host, different, func(class T) { class.SetLabels(offered) })
	await(t, w.virtual, key, empty(), func(T) error { return nil })
	remove(t, w.host, different)
	awaitGone(t, w.virtual, key, empty())

	after := empty()
	if err := w.virtual.Get(t.Context(), client.ObjectKeyFromObject(own), after); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(own, after); diff != "" {
		t.Errorf("the tenant's own class was changed (-before +after):\n%s", diff)
	}
}

// testHiddenClasses: what is not offered is neither seen nor used.
func testHiddenClasses(t *testing.T, w *world) {
	w.namespace(t, "hidden")
	hidden := newClass("hidden")
	hidden.Labels = map[string]string{mapping.LabelOffer: "false"}
	create(t, w.host, hidden)
	create(t, w.host, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "hidden"}, Value: 1000})
	never(t, w.virtual, client.ObjectKey{Name: "hidden"}, &storagev1.StorageClass{})
	never(t, w.virtual, client.ObjectKey{Name: "hidden"}, &schedulingv1.PriorityClass{})
	create(t, w.virtual, newClass("hidden"))
	create(t, w.virtual, newClaim("hidden", "data", "hidden"))
	w.awaitEvent(t, "hidden", "data", engine.ReasonNotSupported)
}
