package customresource

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// What a tenant's API server answers is taken for the object that was asked for only if it is that one.
func TestOnlyTheSameObjectIsReadAgain(t *testing.T) {
	seen := &unstructured.Unstructured{}
	seen.SetGroupVersionKind(schema.GroupVersionKind{Group: "shop.example.com", Version: "v1", Kind: "Widget"})
	seen.SetNamespace("shop")
	seen.SetName("heavy")
	seen.SetUID("1")
	for name, c := range map[string]struct {
		answer func(*unstructured.Unstructured)
		taken  bool
	}{
		"the same":          {func(*unstructured.Unstructured) {}, true},
		"made anew":         {func(u *unstructured.Unstructured) { u.SetUID("2") }, false},
		"being deleted":     {func(u *unstructured.Unstructured) { u.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1, 0)}) }, false},
		"another name":      {func(u *unstructured.Unstructured) { u.SetName("other") }, false},
		"another namespace": {func(u *unstructured.Unstructured) { u.SetNamespace("kube-system") }, false},
		"no namespace":      {func(u *unstructured.Unstructured) { u.SetNamespace("") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			hostile := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
				Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
					answer := seen.DeepCopy()
					c.answer(answer)
					into.(*unstructured.Unstructured).Object = answer.Object
					return nil
				},
			})
			got, err := readAgain(t.Context(), &engine.Scope{VirtualClient: hostile}, seen)
			if err != nil || (got != nil) != c.taken {
				t.Errorf("it is taken: %v, want %v (%v)", got != nil, c.taken, err)
			}
		})
	}
}
