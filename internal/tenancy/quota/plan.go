package quota

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// write is one write to the ResourceQuota of a namespace: of its status or of its spec, never of both. It is valid for the version
// that the lot held when it was planned.
type write struct {
	lot *lot
	// status are new values of status.hard; the others stay.
	status amounts
	// spec is the new spec.hard as a whole.
	spec amounts
	// raises says that the namespace may use more after it.
	raises bool
}

// plan says what to write now. It gives away only what is free at this moment, so any part of what it says may be done, in any
// order. Time is linear in the number of lots.
func plan(total amounts, lots []*lot, epoch int64, now time.Time) []write {
	names := slices.Sorted(maps.Keys(total))
	status := make([]amounts, len(lots))
	lower := make([]amounts, len(lots)) // what spec must come down to
	plots := make([]plot, len(lots))
	for _, name := range names {
		for index, one := range lots {
			plots[index] = one.plot(name, epoch, now)
		}
		targets := distribute(total[name], plots, grain(name))
		free := total[name] - sumOfClaims(plots)
		for index := range plots {
			one, target := &plots[index], targets[index]
			if target < one.spec {
				put(&lower[index], name, target)
				continue
			}
			if target < one.hard {
				put(&status[index], name, target)
				continue
			}
			if raised := raise(one, target, &free); raised > one.hard {
				put(&status[index], name, raised)
			}
		}
	}
	var writes []write
	for index, one := range lots {
		if w, ok := one.next(total, names, status[index], lower[index], now); ok && one.isOwn(epoch) {
			writes = append(writes, w)
		}
	}
	return writes
}

// raise is how far hard can be raised with what is free. It takes what it needs.
func raise(one *plot, target int64, free *int64) int64 {
	if !one.isOpen || target <= one.hard {
		return one.hard
	}
	now := max(one.spec, one.hard, one.used)
	if target <= now {
		return target // it has a claim to that already
	}
	if *free <= 0 {
		return one.hard
	}
	raised := min(target, now+*free)
	*free -= raised - now
	return raised
}

func put(into *amounts, name corev1.ResourceName, amount int64) {
	if *into == nil {
		*into = amounts{}
	}
	(*into)[name] = amount
}

// next is the one write that comes next for a lot. Lowering the spec comes first, since others wait for it; then the status,
// which is effective at once; and when nothing happens the spec follows.
func (l *lot) next(total amounts, names []corev1.ResourceName, status, lower amounts, now time.Time) (write, bool) {
	if l.quota == nil || l.isGone || l.isEnding {
		return write{}, false
	}
	isOther := len(l.spec) != len(total)
	for _, name := range names {
		if _, ok := l.spec[name]; !ok {
			isOther = true
		}
	}
	if len(lower) > 0 || isOther || len(status) == 0 && l.maySettle(now) {
		return write{lot: l, spec: l.specWith(names, lower)}, true
	}
	if len(status) == 0 {
		return write{}, false
	}
	raises := false
	for name, amount := range status {
		raises = raises || amount > l.hard[name]
	}
	return write{lot: l, status: status, raises: raises}, true
}

// specWith is the spec with some bounds lowered. The others follow the status, or the host would lower that when it counts anew.
func (l *lot) specWith(names []corev1.ResourceName, lower amounts) amounts {
	spec := make(amounts, len(names))
	for _, name := range names {
		spec[name] = max(l.spec[name], l.hard[name])
		if least, ok := lower[name]; ok {
			spec[name] = least
		}
	}
	return spec
}

func (l *lot) maySettle(now time.Time) bool {
	return l.lags() && (now.Sub(l.changedAt) >= quiet || now.Sub(l.raisedAt) >= patience)
}

// grain is what parts of a resource are rounded to.
func grain(name corev1.ResourceName) int64 {
	switch {
	case isBytes(name):
		return 1 << 20
	case isCPU(name):
		return 10
	default:
		return 1
	}
}

// change is the object to write, with the version that was read.
func (w *write) change(now time.Time) *corev1.ResourceQuota {
	changed := w.lot.quota.DeepCopy()
	if w.spec != nil {
		changed.Spec.Hard = w.spec.list()
		withoutOldWishes(changed.Annotations, now)
		return changed
	}
	for name, amount := range w.status {
		changed.Status.Hard[name] = quantityOf(name, amount)
	}
	return changed
}

// highest is what the namespace can come to have if the write is carried out, and what it has if not.
func (w *write) highest() amounts {
	tried := amounts{}
	for name := range w.lot.spec {
		tried[name] = max(w.lot.spec[name], w.lot.hard[name], w.spec[name], w.status[name])
	}
	return tried
}
