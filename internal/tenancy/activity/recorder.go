package activity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

const (
	// leastPeriod bounds how often one object is written, however short its time of idleness is.
	leastPeriod = 5 * time.Second
	// mostPeriod is how old a written activity may be: a part of the shortest time of idleness there can be, since a virtual cluster
	// sleeps with its space, too, whose time is not known here.
	mostPeriod = time.Minute / partOfIdle
	// partOfIdle is which part of the time of idleness a written activity may be old: what is busy must never look idle.
	partOfIdle = 4
	// writeTimeout bounds a write.
	writeTimeout = 5 * time.Second
	// maxObjects bounds what is remembered.
	maxObjects = 20000
)

// Object is something that sleeps.
type Object struct {
	// Kind makes an empty object of the type.
	Kind func() client.Object
	Key  client.ObjectKey
	// UID makes sure that a namesake is not kept awake.
	UID types.UID
}

// Recorder writes activity down. Make one with New and run it.
type Recorder struct {
	host  client.Client
	log   *slog.Logger
	clock clock.WithTicker

	mu   sync.Mutex
	seen map[types.UID]*noted // protected by mu
	// due has an element when something waits to be written.
	due chan struct{}
}

// noted is what is known of one object.
type noted struct {
	object  Object
	at      time.Time // of the last activity
	written time.Time // what the object says
	period  time.Duration
}

// New makes a recorder that writes by this client.
func New(host client.Client, log *slog.Logger, clock clock.WithTicker) *Recorder {
	return &Recorder{host: host, log: log, clock: clock, seen: map[types.UID]*noted{}, due: make(chan struct{}, 1)}
}

// Active notes that something happens now. It is written within a part of afterIdle, after which the object sleeps when nothing
// happens; 0 is unknown.
func (r *Recorder) Active(object Object, afterIdle time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.seen[object.UID]
	if !ok {
		if len(r.seen) >= maxObjects {
			r.forgetOldest()
		}
		known = &noted{object: object}
		r.seen[object.UID] = known
	}
	known.at, known.period = r.clock.Now(), periodOf(afterIdle)
	select {
	case r.due <- struct{}{}:
	default: // it looks at everything anyhow
	}
}

func periodOf(afterIdle time.Duration) time.Duration {
	if afterIdle == 0 {
		return mostPeriod
	}
	return min(mostPeriod, max(leastPeriod, afterIdle/partOfIdle))
}

// isPending tells whether something has happened that is not written.
func (n *noted) isPending() bool { return n.at.After(n.written) }

func (n *noted) dueAt() time.Time { return n.written.Add(n.period) }

// forgetOldest must be called with mu held.
func (r *Recorder) forgetOldest() {
	var oldest types.UID
	for uid, known := range r.seen {
		if oldest == "" || known.at.Before(r.seen[oldest].at) {
			oldest = uid
		}
	}
	delete(r.seen, oldest)
}

// Wake asks for something to wake: it counts as activity, too.
func (r *Recorder) Wake(ctx context.Context, object Object) error {
	return r.write(ctx, object, tenancyv1alpha1.AnnotationWake, r.clock.Now())
}

// Run writes what is due until the context ends.
func (r *Recorder) Run(ctx context.Context) error {
	var later <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.due:
		case <-later:
		}
		later = nil
		if after := r.writeDue(ctx); after > 0 {
			later = r.clock.After(after)
		}
	}
}

// writeDue returns after how long something else will be due; 0 is never.
func (r *Recorder) writeDue(ctx context.Context) time.Duration {
	due, after := r.takeDue()
	for _, one := range due {
		err := r.write(ctx, one.object, tenancyv1alpha1.AnnotationActivity, one.at)
		if err != nil && !errors.Is(err, context.Canceled) {
			r.log.Warn("Could not write down that something happens", "object", one.object.Key.String(), "error", err.Error())
		}
	}
	return after
}

// takeDue takes a write that fails for done: the next activity brings it again.
func (r *Recorder) takeDue() (due []noted, after time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	for uid, known := range r.seen {
		switch {
		case known.isPending() && !now.Before(known.dueAt()):
			known.written = now
			due = append(due, *known)
		case known.isPending():
			if left := known.dueAt().Sub(now); after == 0 || left < after {
				after = left
			}
		case now.Sub(known.at) > time.Hour:
			delete(r.seen, uid)
		}
	}
	return due, after
}

func (r *Recorder) write(ctx context.Context, object Object, annotation string, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": object.UID, "annotations": map[string]string{annotation: at.UTC().Format(time.RFC3339)},
	}})
	if err != nil {
		return fmt.Errorf("encode the activity of %q: %w", object.Key, err)
	}
	target := object.Kind()
	target.SetNamespace(object.Key.Namespace)
	target.SetName(object.Key.Name)
	err = r.host.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch))
	if err != nil && !isGone(err) {
		return fmt.Errorf("write the activity of %q: %w", object.Key, err)
	}
	return nil
}

// isGone tells whether the object is gone, or another one of its name: for custom resources a UID that differs is a field that cannot
// be changed.
func isGone(err error) bool {
	cause, ok := apierrors.StatusCause(err, metav1.CauseTypeFieldValueInvalid)
	return apierrors.IsNotFound(err) || apierrors.IsConflict(err) || ok && cause.Field == "metadata.uid"
}
