package integration

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// testNewDefaults: an object that nobody writes has, on the other side too, what the definition gives it by default now.
func (w *customWorld) testNewDefaults(t *testing.T, shop string) {
	spec := map[string]any{"size": int64(1)}
	gadget := func(namespace string) *unstructured.Unstructured {
		object := widget(namespace, "bare", spec)
		object.SetKind("Gadget")
		return object
	}
	// Stored before the field is known: it is shown with whatever the default is.
	create(t, w.virtual, widget("shop", "bare", spec))
	create(t, w.host, gadget(shop))
	keepWriting(t, w.virtual, create(t, w.virtual, widget("shop", "busy", spec)))
	busy := gadget(shop)
	busy.SetName("busy")
	keepWriting(t, w.host, create(t, w.host, busy))
	hostWidget, virtualGadget := widget(shop, "bare", nil), gadget("shop")
	marks := map[*unstructured.Unstructured]string{}
	look := func(in client.Client, object *unstructured.Unstructured, shape any) {
		t.Helper()
		await(t, in, client.ObjectKeyFromObject(object), object, func(object *unstructured.Unstructured) error {
			// Its own API server gives it the default, too. That it was copied tells the mark.
			mark := object.GetAnnotations()[mapping.AnnotationContent]
			return expect(mark != marks[object] && field(object, "spec", "shape") == shape, "mark %q, before %q, spec %v", mark, marks[object], field(object, "spec"))
		})
		marks[object] = object.GetAnnotations()[mapping.AnnotationContent]
	}
	look(w.host, hostWidget, nil)
	look(w.virtual, virtualGadget, nil)
	for _, shape := range []string{"round", "square"} {
		w.setDefault(t, widgets, "shape", shape)
		w.setDefault(t, gadgets, "shape", shape)
		look(w.host, hostWidget, shape)
		look(w.virtual, virtualGadget, shape)
	}
}

// keepWriting changes an object until the test ends. What watches show of it is newer than the moment from which the API server serves by the
// new definition, so that an informer whose watch ends could go on from there.
func keepWriting(t *testing.T, in client.Client, object *unstructured.Unstructured) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	group.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for round := 0; ; round++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			patch := fmt.Sprintf(`{"metadata":{"labels":{"round":"%d"}}}`, round)
			if err := in.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil && ctx.Err() == nil {
				t.Errorf("write %s: %v", object.GetName(), err)
				return
			}
		}
	})
}

// setDefault makes the host's definition have a field with a default in its spec.
func (w *customWorld) setDefault(t *testing.T, definition, name, value string) {
	t.Helper()
	host := ofKind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
	host.SetName(definition)
	change(t, w.host, host, func(host *unstructured.Unstructured) {
		versions, _ := field(host, "spec", "versions").([]any)
		for _, version := range versions {
			properties, _, _ := unstructured.NestedFieldNoCopy(version.(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties")
			properties.(map[string]any)[name] = map[string]any{"type": "string", "default": value}
		}
	})
}
