package lab

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

func pod(name string) *corev1.Pod { return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}} }

// newSight notes what was told in a list.
func newSight(told *[]string) *sight {
	return &sight{known: map[cache.ObjectName]runtime.Object{}, see: func(what watch.EventType, object runtime.Object, at time.Time) {
		if at.IsZero() {
			what = "never"
		}
		*told = append(*told, string(what)+" "+object.(*corev1.Pod).Name)
	}}
}

// What a watch has missed while it was closed is told when it is open again.
func TestSightOfAClosedWatch(t *testing.T) {
	var told []string
	s := newSight(&told)
	for _, err := range []error{
		s.Replace([]any{pod("a"), pod("b")}, "1"),
		s.Update(pod("a")),
		s.Add(pod("c")),
		s.Delete(pod("b")),
		s.Replace([]any{pod("a"), pod("d")}, "9"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"ADDED a", "ADDED b", "MODIFIED a", "ADDED c", "DELETED b", "MODIFIED a", "ADDED d", "DELETED c"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
}

func TestSightRefusesWhatIsNoObject(t *testing.T) {
	var told []string
	s := newSight(&told)
	if s.Add("a pod") == nil || s.Replace([]any{"a pod"}, "1") == nil {
		t.Error("a text was taken for an object")
	}
}

// source shows what a list and a watch bring, without an API server.
func source(events watch.Interface, present ...corev1.Pod) *Source {
	return newSource("pods", &corev1.Pod{}, &cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: present}, nil
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return events, nil },
	})
}

func TestWatchingKnowsWhatWasThereBefore(t *testing.T) {
	watching, ctx := NewWatching(t.Context())
	seen := NewLedger("a pod")
	events := watch.NewFake()
	err := watching.Add(ctx, source(events, *pod("a")), func(_ watch.EventType, object runtime.Object, at time.Time) {
		seen.Mark(object.(*corev1.Pod).Name, at)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := seen.Times()["a"]; !ok {
		t.Error("the watch has begun and what was there before has not been seen")
	}
	before := time.Now()
	events.Add(pod("b"))
	at, err := seen.WaitFor(t.Context(), "b")
	if err != nil || at.Before(before) {
		t.Errorf("seen at %s, before it was there (%s); %v", at, before, err)
	}
	watching.Stop()
}

func TestAwait(t *testing.T) {
	const room = 2 // so that nobody is sending when the watch ends
	events := watch.NewFakeWithChanSize(room, false)
	awaited, err := Expect(t.Context(), "pod b", source(events, *pod("a")), func(object runtime.Object) bool {
		return object.(*corev1.Pod).Name == "b"
	})
	if err != nil {
		t.Fatal(err)
	}
	events.Add(pod("b"))
	events.Modify(pod("b"))
	got, err := awaited.Await(t.Context())
	if err != nil || got.(*corev1.Pod).Name != "b" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestAwaitNone(t *testing.T) {
	if err := AwaitNone(t.Context(), "the pods", source(watch.NewFake())); err != nil {
		t.Errorf("there was none: %v", err)
	}
	events := watch.NewFake()
	go events.Delete(pod("a"))
	if err := AwaitNone(t.Context(), "the pods", source(events, *pod("a"))); err != nil {
		t.Error(err)
	}
}
