package sleep

import (
	"time"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// longestWarning is how long before a deletion it is warned of; half of the time of sleep where that is less.
const longestWarning = 24 * time.Hour

// Deletion is what becomes of something that sleeps for idleness.
type Deletion struct {
	// At is when it is deleted if nothing happens; zero is never.
	At time.Time
	// Warned tells that the condition DeletionDue must be true.
	Warned bool
	// Due tells that it must be deleted now.
	Due bool
	// LookAgain is when time alone may change this; zero is never.
	LookAgain time.Time
}

// Warning is how long before its deletion something is warned.
func Warning(after time.Duration) time.Duration { return min(longestWarning, after/2) }

// Delete says whether something that sleeps must be deleted. warnedFor is for how long it has been warned, by a clock that does not
// jump: a wall clock that jumps brings the warning nearer, and not the deletion that it is of.
func Delete(policy *tenancyv1alpha1.Sleep, status *tenancyv1alpha1.SleepStatus, warnedFor time.Duration, now time.Time) Deletion {
	isIdle := status.Phase == tenancyv1alpha1.PhaseAsleep && status.Cause == tenancyv1alpha1.ReasonIdle && status.Since != nil
	if !isIdle || policy == nil || policy.DeleteAfterIdle == nil || policy.AfterIdle == nil || policy.Force != "" {
		return Deletion{}
	}
	after := policy.DeleteAfterIdle.Duration
	deletion := Deletion{At: status.Since.Add(after)}
	if snoozed := timeOf(policy.SnoozeUntil); snoozed.After(deletion.At) {
		deletion.At = snoozed
	}
	warning := Warning(after)
	if warnAt := deletion.At.Add(-warning); now.Before(warnAt) {
		deletion.LookAgain = warnAt
		return deletion
	}
	deletion.Warned = true
	if left := warning - warnedFor; left > 0 && deletion.At.Before(now.Add(left)) {
		deletion.At = now.Add(left)
	}
	deletion.Due = !now.Before(deletion.At)
	deletion.LookAgain = deletion.At
	return deletion
}
