package engine

import (
	"context"
	"reflect"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// listingAnew makes informers that list everything again when a watch has ended, instead of watching on from there. An API server shows
// custom resources with the defaults of their definition. When these change, objects look different although nobody has written
// them, and no watch tells that; but the API server ends the watches that began before, a moment later. Where others of the type are
// written in this moment, it lets an informer watch on after it, which would then never see the difference.
func listingAnew(newInformer informerMaker) informerMaker {
	return func(from toolscache.ListerWatcher, empty runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
		calls := toolscache.ToListerWatcherWithContext(from)
		var isListed atomic.Bool // since the last watch began
		anew := &toolscache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
				isListed.Store(true)
				return calls.ListWithContext(ctx, options)
			},
			WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
				if beginsWithList(options) || isListed.Swap(false) {
					return calls.WatchWithContext(ctx, options)
				}
				return nil, apierrors.NewResourceExpired("the watch has ended; list again")
			},
		}
		return newInformer(toolscache.ToListWatcherWithWatchListSemantics(anew, from), empty, resync, indexers)
	}
}

// beginsWithList tells whether a watch shows all objects first.
func beginsWithList(options metav1.ListOptions) bool {
	return options.SendInitialEvents != nil && *options.SendInitialEvents
}

// isListedAgain drops objects that a list shows as they were already.
func isListedAgain(old, new client.Object) bool {
	was, wasContent := old.(*unstructured.Unstructured)
	is, isContent := new.(*unstructured.Unstructured)
	return wasContent && isContent && was.GetResourceVersion() == is.GetResourceVersion() && reflect.DeepEqual(was.Object, is.Object)
}
