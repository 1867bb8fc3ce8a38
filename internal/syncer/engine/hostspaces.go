package engine

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// mappedNamespace says what a host namespace stands for.
type mappedNamespace struct {
	tenantID        string
	tenantNamespace string
}

// spaces is the reverse direction of the namespace mapping, read from the labels of the host's namespaces.
type spaces struct {
	mu     sync.RWMutex
	byName map[string]mappedNamespace // protected by mu
}

func newSpaces() *spaces { return &spaces{byName: map[string]mappedNamespace{}} }

func (s *spaces) lookup(hostNamespace string) (mappedNamespace, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	mapped, ok := s.byName[hostNamespace]
	return mapped, ok
}

// handler follows the host's namespaces.
func (s *spaces) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    s.set,
		UpdateFunc: func(_, hostNamespace any) { s.set(hostNamespace) },
		DeleteFunc: s.drop,
	}
}

func (s *spaces) set(object any) {
	hostNamespace, ok := object.(*corev1.Namespace)
	if !ok || hostNamespace.Labels[mapping.LabelKind] != mapping.KindMapped {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byName[hostNamespace.Name] = mappedNamespace{
		tenantID:        hostNamespace.Labels[mapping.LabelID],
		tenantNamespace: hostNamespace.Labels[mapping.LabelTenantNamespace],
	}
}

func (s *spaces) drop(object any) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	hostNamespace, ok := object.(*corev1.Namespace)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byName, hostNamespace.Name)
}
