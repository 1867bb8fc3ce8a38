package controlplane_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

// TestWatchOfNewKinds: a watch of a kind that has just been defined and that nobody writes tells where it begins, while others
// write. Its cache waits for the datastore to report a revision that is at least what a reader sees; one that is behind ends the
// watch with "Too large resource version".
func TestWatchOfNewKinds(t *testing.T) {
	const kinds = 5
	cp, client := start(t, config.ControlPlane{
		PKIDirectory: testenv.NewPKI(t), Store: config.Store{Type: config.StoreSQLite, Path: filepath.Join(t.TempDir(), "state.db")},
	})
	defer stop(t, cp)
	definitions, err := clientset.NewForConfig(cp.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(cp.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	defer writers.Wait()
	defer cancel()
	for writer := range 4 {
		writers.Go(func() { writeOn(ctx, t, client, fmt.Sprintf("busy-%d", writer)) })
	}
	for i := range kinds {
		resource := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: fmt.Sprintf("things%d", i)}
		if _, err := definitions.ApiextensionsV1().CustomResourceDefinitions().Create(t.Context(), definition(resource, i), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new kind is served", func() error {
			_, err := objects.Resource(resource).Namespace("default").List(t.Context(), metav1.ListOptions{})
			return err
		})
		if err := beginWatch(t.Context(), objects, resource); err != nil {
			t.Errorf("watch %s: %v", resource.Resource, err)
		}
	}
}

// writeOn changes an object until the context ends.
func writeOn(ctx context.Context, t *testing.T, client kubernetes.Interface, name string) {
	maps := client.CoreV1().ConfigMaps("default")
	object, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	for i := 0; ctx.Err() == nil; i++ {
		if err != nil {
			t.Errorf("write %s: %v", name, err)
			return
		}
		object.Data = map[string]string{"x": fmt.Sprint(i)}
		next, updateErr := maps.Update(ctx, object, metav1.UpdateOptions{})
		if ctx.Err() != nil {
			return
		}
		object, err = next, updateErr
	}
}

func definition(resource schema.GroupVersionResource, i int) *apiextensionsv1.CustomResourceDefinition {
	names := apiextensionsv1.CustomResourceDefinitionNames{
		Plural: resource.Resource, Singular: fmt.Sprintf("thing%d", i), Kind: fmt.Sprintf("Thing%d", i), ListKind: fmt.Sprintf("Thing%dList", i),
	}
	anything := &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
		Type: "object", XPreserveUnknownFields: new(true),
	}}
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: resource.Resource + "." + resource.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: resource.Group, Names: names, Scope: apiextensionsv1.NamespaceScoped,
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: resource.Version, Served: true, Storage: true, Schema: anything}},
		},
	}
}

// beginWatch returns when the watch has told that it begins, or why it has not.
func beginWatch(ctx context.Context, objects dynamic.Interface, resource schema.GroupVersionResource) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	watching, err := objects.Resource(resource).Namespace("default").Watch(ctx, metav1.ListOptions{
		SendInitialEvents: new(true), ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, AllowWatchBookmarks: true,
	})
	if err != nil {
		return err
	}
	defer watching.Stop()
	for event := range watching.ResultChan() {
		switch event.Type {
		case watch.Bookmark:
			return nil
		case watch.Error:
			return fmt.Errorf("the watch ends with %+v", event.Object)
		}
	}
	return fmt.Errorf("the watch ends: %w", ctx.Err())
}
