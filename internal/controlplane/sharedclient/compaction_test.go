package sharedclient

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store"
)

const timeout = 20 * time.Second

// TestStoresTellWhatIsForgotten: what a resource's store calls forgotten follows what is written. Without it, watch caches would keep pages of lists for ever.
func TestStoresTellWhatIsForgotten(t *testing.T) {
	client := openWith(t, 50*time.Millisecond)
	resource := &storagebackend.ConfigForResource{GroupResource: schema.GroupResource{Resource: "configmaps"}, Config: storagebackend.Config{
		Prefix: "/registry", Codec: scheme.Codecs.LegacyCodec(corev1.SchemeGroupVersion), LeaseManagerConfig: etcd3.NewDefaultLeaseManagerConfig(),
	}}
	configMaps, destroy, err := client.rawStorage(resource, "/configmaps",
		func() runtime.Object { return &corev1.ConfigMap{} }, func() runtime.Object { return &corev1.ConfigMapList{} })
	if err != nil {
		t.Fatal(err)
	}
	defer destroy()

	for round := range 3 {
		if err := client.Create(t.Context(), fmt.Sprintf("/registry/configmaps/%d", round), []byte("x")); err != nil {
			t.Fatal(err)
		}
		written, err := currentRevision(t.Context(), client.etcd, timeout)
		if err != nil {
			t.Fatal(err)
		}
		if forgotten := configMaps.CompactRevision(); forgotten > written {
			t.Errorf("revision %d is forgotten, but the newest is %d", forgotten, written)
		}
		err = wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, timeout, true, func(context.Context) (bool, error) {
			return configMaps.CompactRevision() >= written, nil
		})
		if err != nil {
			t.Fatalf("revision %d is not forgotten; that is %d", written, configMaps.CompactRevision())
		}
	}
}

func openWith(t *testing.T, interval time.Duration) *Client {
	t.Helper()
	datastore, err := store.New(config.Store{Type: config.StoreMemory}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := datastore.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client, err := newClient(endpoint, interval)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := datastore.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return client
}
