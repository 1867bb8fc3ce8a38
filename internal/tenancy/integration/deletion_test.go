package integration

import (
	"context"
	"fmt"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/space"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// TestDeletionGoesInOrder: virtual clusters end while their namespace is whole, then what others have put there, then the
// namespace; the place within the limit comes last. It is so for an account that is suspended and for a deletion in the foreground.
func TestDeletionGoesInOrder(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	var stepped sync.Map
	h.StartAgent(t, tenancytest.Parts{BeforeNamespace: []space.Step{
		func(ctx context.Context, deleted *tenancyv1alpha1.Space) (bool, string, error) {
			var templates corev1.ConfigMap
			err := h.Admin.Get(ctx, client.ObjectKey{Namespace: deleted.Name, Name: "templates"}, &templates)
			if client.IgnoreNotFound(err) != nil {
				return false, "", err
			}
			stepped.Store(deleted.Name, true)
			return err != nil, "the templates", nil
		},
	}})
	account := newAccount("ending", user("emma"))
	account.Spec.Spaces.Limit = new(int32(1))
	h.Create(t, account)
	emma := h.As(t, "emma")
	for _, name := range []string{"plain", "suspended", "foreground"} {
		t.Run(name, func(t *testing.T) {
			createSpace(t, h, emma, name, "ending")
			awaitReady(t, h, name)
			vc := &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "inner", Finalizers: []string{clusterv1alpha1.Finalizer}}}
			mustBeAbleTo(t, h, "emma makes a virtual cluster", func(ctx context.Context) error { return emma.Create(ctx, vc) })
			h.Create(t, newConfigMap(name, "templates"))
			if name == "suspended" {
				editAccount(t, h, "ending", func(spec *tenancyv1alpha1.AccountSpec) { spec.Suspended = true })
				awaitReason(t, h, name, tenancyv1alpha1.ReasonSuspended)
			}
			var options []client.DeleteOption
			if name == "foreground" {
				options = append(options, client.PropagationPolicy(metav1.DeletePropagationForeground))
			}
			if err := h.Admin.Delete(t.Context(), newSpace(name, ""), options...); err != nil {
				t.Fatal(err)
			}
			checkOrder(t, h, name, vc, &stepped)
			if name == "suspended" {
				editAccount(t, h, "ending", func(spec *tenancyv1alpha1.AccountSpec) { spec.Suspended = false })
			}
		})
	}
}

func checkOrder(t *testing.T, h *tenancytest.Host, name string, vc *clusterv1alpha1.VirtualCluster, stepped *sync.Map) {
	t.Helper()
	h.Eventually(t, "the virtual cluster is being deleted", func() error {
		if err := h.Admin.Get(t.Context(), client.ObjectKeyFromObject(vc), vc); err != nil {
			return err
		}
		if vc.DeletionTimestamp.IsZero() {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	message := awaitReason(t, h, name, "Terminating")
	if want := "Waiting for the end of the virtual clusters inner"; message != want {
		t.Errorf("got %q, want %q", message, want)
	}
	mustBeActive(t, h, name)
	if _, isStepped := stepped.Load(name); isStepped {
		t.Error("the templates were to end before the virtual cluster has")
	}
	vc.Finalizers = nil
	if err := h.Admin.Update(t.Context(), vc); err != nil {
		t.Fatal(err)
	}
	h.Eventually(t, "it waits for the templates", func() error {
		if message := awaitReason(t, h, name, "Terminating"); message != "Waiting for the end of the templates" {
			return fmt.Errorf("its message is %q", message)
		}
		return nil
	})
	mustBeActive(t, h, name)
	if err := h.Admin.Delete(t.Context(), newConfigMap(name, "templates")); err != nil {
		t.Fatal(err)
	}
	h.Eventually(t, "the space is gone", h.IsGone(t, newSpace(name, "")))
	if err := h.IsGone(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})(); err != nil {
		t.Errorf("the namespace goes before the space: %v", err)
	}
}

func mustBeActive(t *testing.T, h *tenancytest.Host, name string) {
	t.Helper()
	var namespace corev1.Namespace
	if err := h.Admin.Get(t.Context(), client.ObjectKey{Name: name}, &namespace); err != nil {
		t.Fatal(err)
	}
	if !namespace.DeletionTimestamp.IsZero() {
		t.Errorf("the namespace %s is deleted too early", name)
	}
}
