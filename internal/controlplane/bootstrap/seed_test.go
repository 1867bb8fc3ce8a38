package bootstrap

import (
	"context"
	"maps"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// tree is a Datastore.
type tree struct {
	mu   sync.Mutex
	keys map[string][]byte
}

func (s *tree) Empty(_ context.Context, prefix string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.keys {
		if strings.HasPrefix(key, prefix) {
			return false, nil
		}
	}
	return true, nil
}

func (s *tree) Create(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.keys[key]; !ok {
		s.keys[key] = value
	}
	return nil
}

func TestSeedWritesWhatTheAPIServerStores(t *testing.T) {
	s := &tree{keys: map[string][]byte{}}
	if err := Seed(t.Context(), s, "/registry"); err != nil {
		t.Fatal(err)
	}
	object, err := runtime.Decode(scheme.Codecs.UniversalDeserializer(), s.keys["/registry/namespaces/kube-system"])
	if err != nil {
		t.Fatal(err)
	}
	namespace, ok := object.(*corev1.Namespace)
	if !ok || namespace.UID == "" || namespace.CreationTimestamp.IsZero() || namespace.Status.Phase != corev1.NamespaceActive ||
		len(namespace.Spec.Finalizers) != 1 {
		t.Errorf("namespace is %+v", object)
	}
	object, err = runtime.Decode(scheme.Codecs.UniversalDeserializer(), s.keys["/registry/clusterroles/cluster-admin"])
	if err != nil {
		t.Fatal(err)
	}
	if role, ok := object.(*rbacv1.ClusterRole); !ok || len(role.Rules) != 2 || role.Name != "cluster-admin" {
		t.Errorf("role is %+v", object)
	}
}

func TestSeedLeavesAUsedDatastoreAlone(t *testing.T) {
	s := &tree{keys: map[string][]byte{"/registry/configmaps/default/mine": []byte("x")}}
	before := maps.Clone(s.keys)
	if err := Seed(t.Context(), s, "/registry"); err != nil {
		t.Fatal(err)
	}
	if len(s.keys) != len(before) {
		t.Errorf("%d keys were written", len(s.keys)-len(before))
	}
}
