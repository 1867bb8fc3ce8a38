package rewatch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// breaking lists what there is, which is nothing, and breaks each watch off as soon as it has shown so many events.
type breaking struct {
	shown int
	// ofList shows these when a watch is to begin with a list; nil refuses that.
	ofList []watch.Event

	lists, listWatches, watches int
}

func (b *breaking) ListWithContext(context.Context, metav1.ListOptions) (runtime.Object, error) {
	b.lists++
	return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
}

func (b *breaking) WatchWithContext(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
	var events []watch.Event
	switch {
	case options.SendInitialEvents == nil:
		b.watches++
		for range b.shown {
			events = append(events, bookmark(nil))
		}
	case b.ofList == nil:
		return nil, apierrors.NewBadRequest("sendInitialEvents")
	default:
		b.listWatches++
		events = b.ofList
	}
	broken := watch.NewFakeWithChanSize(len(events), false)
	for _, event := range events {
		broken.Action(event.Type, event.Object)
	}
	broken.Stop()
	return broken, nil
}

func bookmark(annotations map[string]string) watch.Event {
	return watch.Event{Type: watch.Bookmark, Object: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "2", Annotations: annotations}}}
}

// TestBrokenWatchesAreTakenUpAgain: an informer whose watches are broken off at once goes on in a moment, from where it was, and asks
// no more often.
func TestBrokenWatchesAreTakenUpAgain(t *testing.T) {
	const period = time.Minute
	inTurn := int(period / leastLife)
	endOfList := bookmark(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	for name, c := range map[string]struct {
		from               breaking
		lists, listWatches int
	}{
		"nothing is shown":                  {from: breaking{}, lists: 1},
		"something is shown":                {from: breaking{shown: 1}, lists: 1},
		"after a list by the watch":         {from: breaking{ofList: []watch.Event{endOfList}}, listWatches: 1},
		"a list by a watch that shows none": {from: breaking{ofList: []watch.Event{}}, lists: 1, listWatches: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), period)
				defer cancel()
				informer := NewInformer(&cache.ListWatch{
					ListWithContextFunc: c.from.ListWithContext, WatchFuncWithContext: c.from.WatchWithContext,
				}, &corev1.Pod{}, 0, nil)
				informer.RunWithContext(ctx)
				if c.from.lists != c.lists || c.from.listWatches != c.listWatches {
					t.Errorf("it listed %d times, %d times by a watch, want %d and %d", c.from.lists, c.from.listWatches, c.lists, c.listWatches)
				}
				if watches := c.from.watches; watches > inTurn+1 || watches < inTurn-5 {
					t.Errorf("it watched %d times, want about %d", watches, inTurn)
				}
				if !informer.HasSynced() {
					t.Error("it knows nothing")
				}
			})
		})
	}
}

func TestStoppedWatchEnds(t *testing.T) {
	for name, prepare := range map[string]func(*watch.FakeWatcher){
		"quiet":                 func(*watch.FakeWatcher) {},
		"with an event":         func(inner *watch.FakeWatcher) { inner.Action(watch.Bookmark, &corev1.Pod{}) },
		"while it is kept open": func(inner *watch.FakeWatcher) { inner.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := watch.NewFakeWithChanSize(1, false)
				prepare(inner)
				w := newLasting(t.Context(), inner, NewEnding(metav1.ListOptions{}))
				synctest.Wait()
				began := time.Now()
				w.Stop()
				synctest.Wait()
				if event, ok := <-w.ResultChan(); ok || !inner.IsStopped() || time.Since(began) > 0 {
					t.Errorf("after %s it has %v; the watch below has ended: %v", time.Since(began), event, inner.IsStopped())
				}
			})
		})
	}
}
