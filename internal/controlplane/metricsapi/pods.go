package metricsapi

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/metrics/pkg/apis/metrics"
)

// podStorage serves PodMetrics.
type podStorage struct{ source *source }

var (
	_ rest.Getter               = (*podStorage)(nil)
	_ rest.Lister               = (*podStorage)(nil)
	_ rest.Scoper               = (*podStorage)(nil)
	_ rest.KindProvider         = (*podStorage)(nil)
	_ rest.SingularNameProvider = (*podStorage)(nil)
)

// New implements rest.Storage.
func (*podStorage) New() runtime.Object { return &metrics.PodMetrics{} }

// NewList implements rest.Lister.
func (*podStorage) NewList() runtime.Object { return &metrics.PodMetricsList{} }

// Destroy implements rest.Storage.
func (*podStorage) Destroy() {}

// Kind implements rest.KindProvider.
func (*podStorage) Kind() string { return "PodMetrics" }

// NamespaceScoped implements rest.Scoper.
func (*podStorage) NamespaceScoped() bool { return true }

// GetSingularName implements rest.SingularNameProvider. There is none: "pod" means the pod itself.
func (*podStorage) GetSingularName() string { return "" }

// Get implements rest.Getter.
func (s *podStorage) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	if err := s.source.ready(); err != nil {
		return nil, err
	}
	pod, err := s.source.pods.Pods(genericapirequest.NamespaceValue(ctx)).Get(name)
	if err != nil {
		return nil, apierrors.NewNotFound(metrics.Resource("podmetrics"), name)
	}
	found, err := s.source.ofPods(ctx, []*corev1.Pod{pod})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, apierrors.NewNotFound(metrics.Resource("podmetrics"), name)
	}
	return &found[0], nil
}

// List implements rest.Lister.
func (s *podStorage) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	if err := s.source.ready(); err != nil {
		return nil, err
	}
	byLabel, byField := selectors(options)
	pods, err := s.source.pods.Pods(genericapirequest.NamespaceValue(ctx)).List(byLabel)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	pods = slices.DeleteFunc(pods, func(pod *corev1.Pod) bool { return !matches(byField, pod) })
	found, err := s.source.ofPods(ctx, pods)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b metrics.PodMetrics) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return &metrics.PodMetricsList{Items: found}, nil
}

func selectors(options *metainternalversion.ListOptions) (labels.Selector, fields.Selector) {
	byLabel, byField := labels.Everything(), fields.Everything()
	if options != nil && options.LabelSelector != nil {
		byLabel = options.LabelSelector
	}
	if options != nil && options.FieldSelector != nil {
		byField = options.FieldSelector
	}
	return byLabel, byField
}

// matches looks at the only fields that can be selected by.
func matches(selector fields.Selector, object metav1.Object) bool {
	return selector.Matches(fields.Set{"metadata.name": object.GetName(), "metadata.namespace": object.GetNamespace()})
}
