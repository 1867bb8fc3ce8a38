package lab

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// Spaces are all of the host.
func (h *Host) Spaces() *Source {
	return newSource("spaces", &tenancyv1alpha1.Space{}, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			var list tenancyv1alpha1.SpaceList
			err := h.Objects.List(ctx, &list, &client.ListOptions{Raw: &options})
			return &list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return h.Objects.Watch(ctx, &tenancyv1alpha1.SpaceList{}, &client.ListOptions{Raw: &options})
		},
	})
}
