package quota

import (
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// settling is how long a request may be on its way between being charged to a ResourceQuota and being seen by the
	// controller that counts anew. A count in between forgets it; what a count lowers is held for this long.
	settling = time.Second
	// quiet is how long a ResourceQuota must not have changed before its spec follows its status, since that makes the host
	// count anew; patience is when it follows all the same.
	quiet    = 300 * time.Millisecond
	patience = 5 * time.Second
)

// lot is what is known of one namespace's part of an account's quota.
type lot struct {
	namespace string
	// quota is the newest version of the ResourceQuota that was seen; nil until there was one.
	quota *corev1.ResourceQuota
	// isGone says that there is no ResourceQuota now: it has been deleted, or was not made yet. What it last said that is used
	// is still used while the namespace is being deleted.
	isGone bool
	// isEnding says that the namespace is being deleted; nothing can be created in it.
	isEnding bool
	// changedAt is when the newest version was first seen; raisedAt is since when the spec lags behind the status.
	changedAt, raisedAt time.Time
	// epoch is that of this replica when it made sure that nobody else writes here; 0 until then.
	epoch int64
	// tried are amounts that a write asked for that may yet be carried out: its answer never came.
	tried amounts
	drops []drop
	// used, hard and spec are those of quota.
	used, hard, spec amounts
	wishes           []wish
}

// drop is what a count lowered: it may have been freed, or may have been on its way.
type drop struct {
	amounts amounts
	until   time.Time
}

// version orders the versions of one object.
func version(quota *corev1.ResourceQuota) uint64 {
	if quota == nil {
		return 0
	}
	number, err := strconv.ParseUint(quota.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return number
}

// see takes a version of the ResourceQuota in, from a watch or from an answer, if it is news.
func (l *lot) see(quota *corev1.ResourceQuota, now time.Time) {
	if l.quota != nil && version(quota) <= version(l.quota) {
		return
	}
	if l.quota != nil && l.quota.UID != quota.UID {
		l.epoch, l.tried = 0, nil // another one of the same name
	}
	used := amountsOf(quota.Status.Used)
	l.remember(used, now)
	l.quota, l.isGone, l.changedAt = quota, false, now
	l.used, l.hard, l.spec = used, amountsOf(quota.Status.Hard), amountsOf(quota.Spec.Hard)
	l.wishes = wishesOf(quota)
	if !l.lags() {
		l.raisedAt = time.Time{}
	} else if l.raisedAt.IsZero() {
		l.raisedAt = now
	}
}

// remember holds what is no longer counted.
func (l *lot) remember(used amounts, now time.Time) {
	lowered := amounts{}
	for name, before := range l.used {
		if after := used[name]; after < before {
			lowered[name] = before - after
		}
	}
	if len(lowered) > 0 {
		l.drops = append(l.drops, drop{amounts: lowered, until: now.Add(settling)})
	}
}

// held is what may be used of a resource though nobody counts it.
func (l *lot) held(name corev1.ResourceName) int64 {
	sum := int64(0)
	for _, one := range l.drops {
		sum = plus(sum, one.amounts[name])
	}
	return sum
}

// expire forgets what has settled.
func (l *lot) expire(now time.Time) {
	l.drops = slices.DeleteFunc(l.drops, func(one drop) bool { return !now.Before(one.until) })
}

// lags tells whether some bound of the spec is below that of the status: the status was raised first.
func (l *lot) lags() bool {
	for name, hard := range l.hard {
		if spec, ok := l.spec[name]; ok && spec < hard {
			return true
		}
	}
	return false
}

// isCounted tells whether the host says how much of a resource is used.
func (l *lot) isCounted(name corev1.ResourceName) bool {
	_, isUsed := l.used[name]
	_, isHard := l.hard[name]
	return isUsed && isHard
}

// isOwn tells whether the lot is this replica's alone and nothing that it wrote may yet be carried out.
func (l *lot) isOwn(epoch int64) bool {
	return l.quota != nil && l.epoch == epoch && epochOf(l.quota) == epoch && len(l.tried) == 0
}

// plot is the lot's part of one resource.
func (l *lot) plot(name corev1.ResourceName, epoch int64, now time.Time) plot {
	one := plot{used: l.used[name], held: l.held(name)}
	if l.isGone {
		return one // what was left in the namespace when its ResourceQuota went
	}
	if l.isEnding {
		one.used = max(one.used, l.hard[name], l.spec[name]) // nothing is moved any more until the ResourceQuota is gone
		return one
	}
	one.spec, one.hard = max(l.spec[name], l.tried[name]), l.hard[name]
	one.isOpen = l.isCounted(name) && l.isOwn(epoch)
	one.want, one.wantedAt = wanted(l.wishes, name, now)
	return one
}
