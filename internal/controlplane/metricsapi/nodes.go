package metricsapi

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/metrics/pkg/apis/metrics"
)

// nodeStorage serves NodeMetrics.
type nodeStorage struct{ source *source }

var (
	_ rest.Getter               = (*nodeStorage)(nil)
	_ rest.Lister               = (*nodeStorage)(nil)
	_ rest.Scoper               = (*nodeStorage)(nil)
	_ rest.KindProvider         = (*nodeStorage)(nil)
	_ rest.SingularNameProvider = (*nodeStorage)(nil)
)

// New implements rest.Storage.
func (*nodeStorage) New() runtime.Object { return &metrics.NodeMetrics{} }

// NewList implements rest.Lister.
func (*nodeStorage) NewList() runtime.Object { return &metrics.NodeMetricsList{} }

// Destroy implements rest.Storage.
func (*nodeStorage) Destroy() {}

// Kind implements rest.KindProvider.
func (*nodeStorage) Kind() string { return "NodeMetrics" }

// NamespaceScoped implements rest.Scoper.
func (*nodeStorage) NamespaceScoped() bool { return false }

// GetSingularName implements rest.SingularNameProvider. There is none: "node" means the node itself.
func (*nodeStorage) GetSingularName() string { return "" }

// Get implements rest.Getter.
func (s *nodeStorage) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	if err := s.source.ready(); err != nil {
		return nil, err
	}
	node, err := s.source.nodes.Get(name)
	if err != nil {
		return nil, apierrors.NewNotFound(metrics.Resource("nodemetrics"), name)
	}
	found, err := s.source.ofNodes(ctx, []*corev1.Node{node})
	if err != nil {
		return nil, err
	}
	return &found[0], nil
}

// List implements rest.Lister.
func (s *nodeStorage) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	if err := s.source.ready(); err != nil {
		return nil, err
	}
	byLabel, byField := selectors(options)
	nodes, err := s.source.nodes.List(byLabel)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	nodes = slices.DeleteFunc(nodes, func(node *corev1.Node) bool { return !matches(byField, node) })
	slices.SortFunc(nodes, func(a, b *corev1.Node) int { return strings.Compare(a.Name, b.Name) })
	found, err := s.source.ofNodes(ctx, nodes)
	if err != nil {
		return nil, err
	}
	return &metrics.NodeMetricsList{Items: found}, nil
}
