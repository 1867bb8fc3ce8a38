package finalizer_test

import (
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/finalizer"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

const ours, theirs = "matryoshka.dev/test", "example.org/other"

// TestFinalizer: the list is written and nothing else, and only what was read is changed.
func TestFinalizer(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := tenancyv1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	config := testenv.StartHost(t)
	config.ContentConfig = rest.ContentConfig{}
	host, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	// A field that Go leaves out when it is written back.
	written := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": tenancyv1alpha1.GroupVersion.String(), "kind": "Account",
		"metadata": map[string]any{"name": "a", "finalizers": []any{theirs}},
		"spec":     map[string]any{"suspended": false, "nodeSelector": map[string]any{}},
	}}
	if err := host.Create(t.Context(), written); err != nil {
		t.Fatal(err)
	}
	read := func() *tenancyv1alpha1.Account {
		var account tenancyv1alpha1.Account
		if err := host.Get(t.Context(), client.ObjectKey{Name: "a"}, &account); err != nil {
			t.Fatal(err)
		}
		return &account
	}
	account := read()
	old := account.DeepCopy()
	if err := finalizer.Add(t.Context(), host, account, ours); err != nil {
		t.Fatal(err)
	}
	if got := read(); !slices.Equal(got.Finalizers, []string{theirs, ours}) || got.ResourceVersion != account.ResourceVersion {
		t.Errorf("got %v of version %s, want both of version %s", got.Finalizers, got.ResourceVersion, account.ResourceVersion)
	}
	if got := read().Generation; got != old.Generation {
		t.Errorf("the spec was changed: its generation is %d", got)
	}
	if err := host.Get(t.Context(), client.ObjectKey{Name: "a"}, written); err != nil {
		t.Fatal(err)
	}
	if _, found, _ := unstructured.NestedBool(written.Object, "spec", "suspended"); !found {
		t.Error("spec.suspended: false was dropped")
	}
	if err := finalizer.Add(t.Context(), host, account, ours); err != nil || read().ResourceVersion != account.ResourceVersion {
		t.Errorf("a second time writes: %v", err)
	}
	if err := finalizer.Remove(t.Context(), host, old, theirs); !apierrors.IsConflict(err) {
		t.Errorf("got %v for an object that has changed, want a conflict", err)
	}
	if err := finalizer.Remove(t.Context(), host, account, theirs); err != nil {
		t.Fatal(err)
	}
	if got := read().Finalizers; !slices.Equal(got, []string{ours}) {
		t.Errorf("got %v, want ours alone", got)
	}
	if err := host.Delete(t.Context(), read()); err != nil {
		t.Fatal(err)
	}
	account = read()
	gone := account.DeepCopy()
	for _, object := range []*tenancyv1alpha1.Account{account, gone} {
		if err := finalizer.Remove(t.Context(), host, object, ours); err != nil {
			t.Errorf("remove the last: %v", err)
		}
	}
	if err := host.Create(t.Context(), &tenancyv1alpha1.Account{ObjectMeta: metav1.ObjectMeta{Name: "a", Finalizers: []string{ours}}}); err != nil {
		t.Fatal(err)
	}
	if err := finalizer.Remove(t.Context(), host, gone, ours); !apierrors.IsConflict(err) {
		t.Errorf("got %v for another object of the same name, want a conflict", err)
	}
	if got := read().Finalizers; !slices.Equal(got, []string{ours}) {
		t.Errorf("another object of the same name has the finalizers %v", got)
	}
}
