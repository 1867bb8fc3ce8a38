package sleep

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// Told is the time in an annotation that says that something happened. What cannot be read is never; what lies in the future is
// now, or a wrong clock would keep awake for ever.
func Told(annotations map[string]string, key string, now time.Time) time.Time {
	at, err := time.Parse(time.RFC3339, annotations[key])
	if err != nil {
		return time.Time{}
	}
	if at.After(now) {
		return now
	}
	return at
}

// Observe brings what was seen to happen into a status, before a decision. activity is when something was last seen; zero is never.
func Observe(status *tenancyv1alpha1.SleepStatus, policy *tenancyv1alpha1.Sleep, activity, now time.Time) {
	if status.Since == nil {
		status.Since = stamp(now)
	}
	// A time in the future is that of a clock that was wrong.
	for _, at := range []*metav1.Time{status.Since, status.LastActivity, status.IdleSince, status.ScheduleSince} {
		if at != nil && at.After(now) {
			*at = *stamp(now)
		}
	}
	if activity.After(timeOf(status.LastActivity)) {
		status.LastActivity = stamp(activity)
	}
	observeSchedule(status, policy, now)
	if policy == nil || policy.AfterIdle == nil {
		status.IdleSince = nil
		return
	}
	if status.IdleSince == nil {
		status.IdleSince = stamp(now)
	}
	if last := timeOf(status.LastActivity); last.After(status.IdleSince.Time) {
		status.IdleSince = stamp(last)
	}
}

// observeSchedule notes since when a schedule counts: who writes one down at noon does not mean last night.
func observeSchedule(status *tenancyv1alpha1.SleepStatus, policy *tenancyv1alpha1.Sleep, now time.Time) {
	if policy == nil || policy.Schedule == nil {
		status.Schedule, status.ScheduleSince = nil, nil
		return
	}
	if status.Schedule == nil || *status.Schedule != *policy.Schedule {
		status.Schedule, status.ScheduleSince = policy.Schedule.DeepCopy(), stamp(now)
	}
}

// FallAsleep begins a sleep. It must be written down before anything is stopped.
func FallAsleep(status *tenancyv1alpha1.SleepStatus, cause string, now time.Time) {
	status.Phase, status.Cause, status.Since = tenancyv1alpha1.PhaseFallingAsleep, cause, stamp(now)
	status.Epoch++
	status.Saved = nil
	forgetDeletion(status)
}

// WakeUp ends a sleep. It must be written down before anything is started.
func WakeUp(status *tenancyv1alpha1.SleepStatus, now time.Time) {
	if slept := now.Sub(timeOf(status.Since)); status.Since != nil && slept > 0 {
		status.SavedSeconds += int64(slept / time.Second)
	}
	status.Phase, status.Cause, status.Since, status.Saved = tenancyv1alpha1.PhaseWaking, "", stamp(now), nil
	if status.IdleSince != nil {
		status.IdleSince = stamp(now)
	}
	forgetDeletion(status)
}

// Resume is for what sleeps on for another reason: only idleness counts for a deletion, and from its own beginning.
func Resume(status *tenancyv1alpha1.SleepStatus, cause string) {
	if status.Cause == cause {
		return
	}
	status.Cause = cause
	forgetDeletion(status)
}

func forgetDeletion(status *tenancyv1alpha1.SleepStatus) {
	status.DeleteAt, status.WarnedSeconds = nil, 0
}

func timeOf(at *metav1.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return at.Time
}

// stamp is a time as the API keeps it: whole seconds.
func stamp(at time.Time) *metav1.Time {
	return new(metav1.NewTime(at.Truncate(time.Second)))
}
