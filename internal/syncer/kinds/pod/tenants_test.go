package pod_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// testTwoTenants: two virtual clusters with the same names do not meet, one whose API server does not answer delays
// nobody, and one that is paused is left alone.
func testTwoTenants(t *testing.T, w *world) {
	namespace := w.namespace(t, "two")
	first, _ := w.registry.ByUID(tenantUID)
	second := first
	second.ID, second.UID, second.Name = "aaaaaaaa", "6f2b8a54-0000-4000-8000-000000000002", "twin"
	// It is the same API server under another identity: a virtual cluster with all the same names.
	w.registry.Set(second)
	w.registry.Set(tenants.Tenant{
		ID: "bbbbbbbb", UID: "6f2b8a54-0000-4000-8000-000000000003", Namespace: "demo", Name: "dead", Ready: true,
		VirtualConfig: &rest.Config{Host: "https://" + silentServer(t)},
	})
	defer w.registry.Delete("6f2b8a54-0000-4000-8000-000000000003")
	eventually(t, "second tenant is served", func(context.Context) error {
		if !w.engine.Synced(second.UID) {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	virtualPod := newPod(namespace, "web")
	create(t, w.tenant, virtualPod)
	hostPod := w.hostPod(t, virtualPod)
	twin := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: mapping.HostNamespace(second.ID, namespace), Name: "web"}}
	eventually(t, "the twin's host pod", func(ctx context.Context) error { return w.host.Get(ctx, client.ObjectKeyFromObject(twin), twin) })
	if twin.Labels[mapping.LabelUID] != string(second.UID) {
		t.Errorf("the twin's pod belongs to %q", twin.Labels[mapping.LabelUID])
	}

	second.Spec = clusterv1alpha1.VirtualClusterSpec{Paused: true}
	w.registry.Set(second)
	eventually(t, "second tenant is paused", func(context.Context) error {
		if w.engine.Synced(second.UID) {
			return fmt.Errorf("it is still served")
		}
		return nil
	})
	if err := w.tenant.Delete(t.Context(), virtualPod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	w.gone(t, w.tenant, virtualPod)
	w.gone(t, w.host, hostPod)
	if err := w.host.Get(t.Context(), client.ObjectKeyFromObject(twin), twin); err != nil || twin.DeletionTimestamp != nil {
		t.Errorf("the paused tenant's pod was touched (%v)", err)
	}
	w.registry.Delete(second.UID)
}

// testBack: a tenant that was away for long is served at once when it is back, not when its watches try again.
func testBack(t *testing.T, w *world) {
	namespace := w.namespace(t, "back")
	tenant, _ := w.registry.ByUID(tenantUID)
	tenant.Ready = false
	w.registry.Set(tenant)
	virtualPod := newPod(namespace, "web")
	create(t, w.tenant, virtualPod)
	<-time.After(2500 * time.Millisecond) // the engine counts the time of being away by the wall clock
	if err := w.host.Get(t.Context(), hostKey(virtualPod), &corev1.Pod{}); err == nil {
		t.Error("a tenant that is not ready was served")
	}
	tenant.Ready = true
	w.registry.Set(tenant)
	w.hostPod(t, virtualPod)
}

// silentServer accepts connections and never answers.
func silentServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = connection.Close() })
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return listener.Addr().String()
}
