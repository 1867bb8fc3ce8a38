package rewatch

import (
	"context"
	"errors"
	"net/url"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

var (
	pods        = schema.GroupResource{Resource: "pods"}
	unreachable = &url.Error{Op: "Get", URL: "https://192.0.2.1", Err: syscall.ECONNREFUSED}
)

// answers lists and watches with these errors, one after the other and the last one for ever; nil means that it goes well.
type answers struct {
	errs  []error
	calls int
}

func (a *answers) next() error {
	err := a.errs[min(a.calls, len(a.errs)-1)]
	a.calls++
	return err
}

func (a *answers) persistent() cache.ListerWatcherWithContext {
	return cache.ToListerWatcherWithContext(Persistent(&cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) { return &corev1.PodList{}, a.next() },
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			return watch.NewEmptyWatch(), a.next()
		},
	}))
}

func TestWhatMayPassIsTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		calls int
	}{
		"not reached":         {unreachable, 3},
		"too many requests":   {apierrors.NewTooManyRequests("later", 1), 3},
		"unavailable":         {apierrors.NewServiceUnavailable("starting"), 3},
		"internal error":      {apierrors.NewInternalError(errors.New("broken")), 3},
		"timeout":             {apierrors.NewTimeoutError("late", 0), 3},
		"forbidden":           {apierrors.NewForbidden(pods, "", nil), 1},
		"too old":             {apierrors.NewResourceExpired("compacted"), 1},
		"type is gone":        {apierrors.NewNotFound(pods, ""), 1},
		"too new":             {tooNew(), 1},
		"answer is not read":  {errors.New("unknown content type"), 1},
		"no watch of a start": {apierrors.NewBadRequest("sendInitialEvents"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list, watched := &answers{errs: []error{c.err, c.err, nil}}, &answers{errs: []error{c.err, c.err, nil}}
				_, listErr := list.persistent().ListWithContext(t.Context(), metav1.ListOptions{})
				_, watchErr := watched.persistent().WatchWithContext(t.Context(), metav1.ListOptions{})
				if list.calls != c.calls || watched.calls != c.calls {
					t.Errorf("listed %d times and watched %d times, want %d", list.calls, watched.calls, c.calls)
				}
				if passed := c.calls > 1; (listErr == nil) != passed || (watchErr == nil) != passed {
					t.Errorf("the errors are %v and %v", listErr, watchErr)
				}
			})
		})
	}
}

func tooNew() error {
	err := apierrors.NewTimeoutError("Too large resource version", 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}
	return err
}

func TestInternalErrorThatStaysIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := &answers{errs: []error{apierrors.NewInternalError(errors.New("broken"))}}
		_, err := broken.persistent().WatchWithContext(t.Context(), metav1.ListOptions{})
		if !apierrors.IsInternalError(err) || broken.calls != maxBroken {
			t.Errorf("%v after %d calls", err, broken.calls)
		}
	})
}

func TestOutageIsOverSoonAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const outage = 20 * time.Minute
		began, calls := time.Now(), 0
		from := cache.ToListerWatcherWithContext(Persistent(&cache.ListWatch{WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			if calls++; time.Since(began) < outage {
				return nil, unreachable
			}
			return watch.NewEmptyWatch(), nil
		}}))
		if _, err := from.WatchWithContext(t.Context(), metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
		if late := time.Since(began) - outage; late > lastWait*3/2 {
			t.Errorf("it came back %s after the end of the outage", late)
		}
		if most := int(outage/lastWait) + 10; calls > most {
			t.Errorf("it asked %d times, want at most %d", calls, most)
		}
	})
}

func TestTryEndsWithTheInformer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		never := &answers{errs: []error{unreachable}}
		if _, err := never.persistent().ListWithContext(ctx, metav1.ListOptions{}); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the error is %v", err)
		}
	})
}
