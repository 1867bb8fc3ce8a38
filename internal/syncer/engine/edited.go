package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// ReasonEditedOnHost is the reason of the event on an object whose host copy somebody has changed.
const ReasonEditedOnHost = "EditedOnHost"

const (
	// rememberedCopies bounds what is remembered of writes. What is dropped costs an event or a write too many at most.
	rememberedCopies = 16384
	// putBackFreely is how often the same is put back without waiting. Then each time waits twice as long as the last one, up to
	// putBackLast, until nobody has changed it for putBackForgotten.
	putBackFreely    = 5
	putBackLast      = 5 * time.Minute
	putBackForgotten = 10 * time.Minute
	// doubtful is for how long a write without an answer may be what has changed a copy.
	doubtful = time.Minute
)

// ownWrites remembers what the engine itself has written last, to tell it from what others write.
type ownWrites struct {
	seed maphash.Seed
	now  func() time.Time
	// versions are of the last two writes to a copy, by UID: resource versions, or the time of a write that had no answer. One
	// look at a key may write twice on the ground of the same state.
	versions *lru.Cache
	// putBack are the changes that were written again and again, by UID.
	putBack *lru.Cache
}

// repetition is a change that was written to one copy several times in a row.
type repetition struct {
	change uint64
	count  int
	last   time.Time
}

func newOwnWrites(now func() time.Time) *ownWrites {
	return &ownWrites{seed: maphash.MakeSeed(), now: now, versions: lru.New(rememberedCopies), putBack: lru.New(rememberedCopies)}
}

// wrote notes what the answer to a write shows.
func (o *ownWrites) wrote(hostObject client.Object) {
	last, _ := o.versions.Get(hostObject.GetUID())
	before, _ := last.([2]string)
	o.versions.Add(hostObject.GetUID(), [2]string{hostObject.GetResourceVersion(), before[0]})
}

// doubt notes that a write has no answer: what the watch shows may be by us.
func (o *ownWrites) doubt(hostObject client.Object) { o.versions.Add(hostObject.GetUID(), o.now()) }

// isOwn tells whether a state of a copy is, or may be, what the engine has written.
func (o *ownWrites) isOwn(hostObject client.Object) bool {
	last, ok := o.versions.Get(hostObject.GetUID())
	if !ok {
		return false
	}
	if asked, isDoubt := last.(time.Time); isDoubt {
		return o.now().Sub(asked) < doubtful
	}
	versions, _ := last.([2]string)
	return slices.Contains(versions[:], hostObject.GetResourceVersion())
}

// heldBackError says that a copy is not put back yet, because somebody changes it again and again.
type heldBackError struct{ after time.Duration }

// Error implements error.
func (h *heldBackError) Error() string {
	return fmt.Sprintf("somebody on the host cluster changes the copy of this object again and again; it is put back in %s", h.after.Round(time.Second))
}

// mayPutBack tells whether a change may be written to a copy now. One that follows itself undoes what somebody else does.
func (o *ownWrites) mayPutBack(uid types.UID, change []byte) error {
	before, isRepeated := o.repeated(uid, change)
	over := before.count - putBackFreely
	if !isRepeated || over < 0 {
		return nil
	}
	wait := min(time.Second<<min(over, 16), putBackLast)
	if left := wait - o.now().Sub(before.last); left > 0 {
		return &heldBackError{after: left}
	}
	return nil
}

// hasPutBack counts a change that the host has taken. One that it has not taken, for whatever reason, is tried again and undoes
// nothing.
func (o *ownWrites) hasPutBack(uid types.UID, change []byte) {
	count := 1
	if before, isRepeated := o.repeated(uid, change); isRepeated {
		count = before.count + 1
	}
	o.putBack.Add(uid, repetition{change: maphash.Bytes(o.seed, change), count: count, last: o.now()})
}

// repeated is the last change that was written to a copy, and whether this one is the same, not long after.
func (o *ownWrites) repeated(uid types.UID, change []byte) (repetition, bool) {
	found, _ := o.putBack.Get(uid)
	before, _ := found.(repetition)
	return before, before.change == maphash.Bytes(o.seed, change) && o.now().Sub(before.last) <= putBackForgotten
}

// isPutBack tells whether writing to the copy of the key that is worked on undoes what somebody did to it on the host: the copy
// was changed there, not by us, and nothing in the tenant was.
func isPutBack(a *attempt, before, after client.Object) bool {
	if !a.why.isEdited || !a.why.virtual.IsZero() || a.own != nil && a.own.isOwn(before) {
		return false
	}
	// A copy that is taken over, from a reservation or a predecessor, was nobody's to repair.
	return before.GetAnnotations()[mapping.AnnotationTenantUID] == after.GetAnnotations()[mapping.AnnotationTenantUID]
}

// NoteChanged notes that a write to the copy of the key that is worked on puts back what somebody did to it, if that is so.
// UpdateHost calls it; who writes in another way what somebody can change on the host calls it too.
func NoteChanged(ctx context.Context, before, after client.Object) {
	if a, ok := attemptOf(ctx); ok && isPutBack(a, before, after) {
		a.isPutBack, a.putBack = true, changedFields(before, after)
	}
}

// NoteWritten notes what a host object is after a write of ours, or that a write had no answer. CreateHost and UpdateHost call it;
// who writes copies in another way calls it too, after NoteChanged.
func NoteWritten(ctx context.Context, hostObject client.Object, err error) {
	a, ok := attemptOf(ctx)
	switch {
	case !ok || a.own == nil || hostObject.GetUID() == "":
	case err == nil:
		a.own.wrote(hostObject)
	case isUnreached(err):
		a.own.doubt(hostObject)
	}
}

// settlePutBack counts what was put back and has it told to the tenant, unless it turns out that the tenant has changed its
// object: a cache shows a change a moment before it tells of it.
func (e *Engine) settlePutBack(ctx context.Context, scope *Scope, it item, tried *attempt) {
	if !tried.isPutBack || !e.queue.causeOf(it).virtual.IsZero() {
		return
	}
	kind := e.kinds[it.kind]
	e.metrics.repairs.WithLabelValues(kind.Name, repairChanged).Inc()
	const most = 5
	fields := tried.putBack
	if len(fields) > most {
		fields = append(fields[:most:most], "more")
	}
	e.tell(ctx, scope, kind, it.key, &Refusal{
		Reason:  ReasonEditedOnHost,
		Message: fmt.Sprintf("somebody on the host cluster had changed %s of the copy of this object; it was put back", strings.Join(fields, ", ")),
	})
}

// changedFields are the paths in which two states of an object differ, two fields deep.
func changedFields(before, after client.Object) []string {
	data, err := client.MergeFrom(before).Data(after)
	if err != nil {
		return nil
	}
	var change map[string]any
	if err := json.Unmarshal(data, &change); err != nil {
		return nil
	}
	var fields []string
	for field, value := range change {
		inner, isObject := value.(map[string]any)
		if !isObject {
			fields = append(fields, field)
			continue
		}
		for name := range inner {
			fields = append(fields, field+"."+name)
		}
	}
	slices.Sort(fields)
	return fields
}
