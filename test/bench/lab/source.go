package lab

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// Source is what a watch is of. It is used once.
type Source struct {
	*cache.ListWatch
	name    string
	example runtime.Object
	opened  chan struct{}
	once    sync.Once
}

// Objects of the core group: what, such as "pods", is their resource. Without a namespace they are those of all, without a name
// those of every name.
func Objects(side kubernetes.Interface, what string, example runtime.Object, namespace, name string) *Source {
	selector := fields.Everything()
	if name != "" {
		selector = fields.OneTermEqualSelector(metav1.ObjectNameField, name)
	}
	return newSource(what, example, cache.NewListWatchFromClient(side.CoreV1().RESTClient(), what, namespace, selector))
}

// Pods of a namespace; of every name if there is none.
func Pods(side kubernetes.Interface, namespace, name string) *Source {
	return Objects(side, "pods", &corev1.Pod{}, namespace, name)
}

// labelled are the metadata of all objects of a kind with a label.
func labelled(client metadata.Interface, kind schema.GroupVersionResource, selector string) *Source {
	objects := client.Resource(kind)
	return newSource(kind.Resource, &metav1.PartialObjectMetadata{}, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = selector
			return objects.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			return objects.Watch(ctx, options)
		},
	})
}

func newSource(name string, example runtime.Object, from *cache.ListWatch) *Source {
	return &Source{ListWatch: from, name: name, example: example, opened: make(chan struct{})}
}

// WatchWithContext tells when the first watch is open, and a person when it is not the first.
func (s *Source) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	events, err := s.ListWatch.WatchWithContext(ctx, options)
	if err != nil {
		return nil, err
	}
	isFirst := false
	s.once.Do(func() { isFirst = true })
	if isFirst {
		close(s.opened)
	} else {
		klog.InfoS("A watch ended and was opened again: what happened meanwhile was seen late", "of", s.name)
	}
	return events, nil
}

// IsWatchListSemanticsUnSupported has the objects listed before they are watched: when the watch is open, all that was there
// before is known.
func (s *Source) IsWatchListSemanticsUnSupported() bool { return true }
