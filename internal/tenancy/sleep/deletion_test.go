package sleep_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/sleep"
)

func TestDelete(t *testing.T) {
	since := at(t, "2026-03-04 12:00:00")
	idle := tenancyv1alpha1.SleepStatus{Phase: tenancyv1alpha1.PhaseAsleep, Cause: tenancyv1alpha1.ReasonIdle, Since: stamp(since)}
	weekly := &tenancyv1alpha1.Sleep{AfterIdle: hours(1), DeleteAfterIdle: hours(7 * 24)}
	because := func(cause string) tenancyv1alpha1.SleepStatus {
		status := idle
		status.Cause = cause
		return status
	}
	const day = 24 * time.Hour
	cases := map[string]struct {
		policy    *tenancyv1alpha1.Sleep
		status    tenancyv1alpha1.SleepStatus
		warnedFor time.Duration
		now       time.Time
		want      sleep.Deletion
	}{
		"NoPolicy":  {status: idle, now: since.Add(365 * day)},
		"NotAsked":  {policy: &tenancyv1alpha1.Sleep{AfterIdle: hours(1)}, status: idle, now: since.Add(365 * day)},
		"Awake":     {policy: weekly, status: tenancyv1alpha1.SleepStatus{Since: stamp(since), IdleSince: stamp(since)}, now: since.Add(365 * day), warnedFor: 30 * day},
		"Forced":    {policy: weekly, status: because(tenancyv1alpha1.ReasonForced), now: since.Add(365 * day), warnedFor: 30 * day},
		"Scheduled": {policy: weekly, status: because(tenancyv1alpha1.ReasonScheduled), now: since.Add(365 * day), warnedFor: 30 * day},
		"WithSpace": {policy: weekly, status: because(tenancyv1alpha1.ReasonSpaceAsleep), now: since.Add(365 * day), warnedFor: 30 * day},
		"FallingAsleep": {policy: weekly, status: tenancyv1alpha1.SleepStatus{
			Phase: tenancyv1alpha1.PhaseFallingAsleep, Cause: tenancyv1alpha1.ReasonIdle, Since: stamp(since),
		}, now: since.Add(365 * day), warnedFor: 30 * day},
		"ForcedSince": {policy: &tenancyv1alpha1.Sleep{AfterIdle: hours(1), DeleteAfterIdle: hours(7 * 24), Force: "Asleep"}, status: idle, now: since.Add(365 * day), warnedFor: 30 * day},
		"Early": {
			policy: weekly, status: idle, now: since.Add(day),
			want: sleep.Deletion{At: since.Add(7 * day), LookAgain: since.Add(6 * day)},
		},
		"WarnedADayBefore": {
			policy: weekly, status: idle, now: since.Add(6 * day),
			want: sleep.Deletion{At: since.Add(7 * day), Warned: true, LookAgain: since.Add(7 * day)},
		},
		"Due": {
			policy: weekly, status: idle, now: since.Add(7 * day), warnedFor: day,
			want: sleep.Deletion{At: since.Add(7 * day), Warned: true, Due: true, LookAgain: since.Add(7 * day)},
		},
		"WarningShorterThanADay": {
			policy: &tenancyv1alpha1.Sleep{AfterIdle: hours(1), DeleteAfterIdle: hours(2)}, status: idle, now: since.Add(time.Hour),
			want: sleep.Deletion{At: since.Add(2 * time.Hour), Warned: true, LookAgain: since.Add(2 * time.Hour)},
		},
		// A clock that jumps by a year brings the warning, not the deletion.
		"ClockJumped": {
			policy: weekly, status: idle, now: since.Add(365 * day),
			want: sleep.Deletion{At: since.Add(366 * day), Warned: true, LookAgain: since.Add(366 * day)},
		},
		"ClockJumpedWhileWarned": {
			policy: weekly, status: idle, now: since.Add(365 * day), warnedFor: 23 * time.Hour,
			want: sleep.Deletion{At: since.Add(365*day + time.Hour), Warned: true, LookAgain: since.Add(365*day + time.Hour)},
		},
		"Snoozed": {
			policy: &tenancyv1alpha1.Sleep{AfterIdle: hours(1), DeleteAfterIdle: hours(7 * 24), SnoozeUntil: &metav1.Time{Time: since.Add(30 * day)}},
			status: idle, now: since.Add(8 * day), warnedFor: day,
			want: sleep.Deletion{At: since.Add(30 * day), LookAgain: since.Add(29 * day)},
		},
		"SnoozedLongAgo": {
			policy: &tenancyv1alpha1.Sleep{AfterIdle: hours(1), DeleteAfterIdle: hours(7 * 24), SnoozeUntil: &metav1.Time{Time: since.Add(-day)}},
			status: idle, now: since.Add(8 * day), warnedFor: day,
			want: sleep.Deletion{At: since.Add(7 * day), Warned: true, Due: true, LookAgain: since.Add(7 * day)},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := sleep.Delete(tc.policy, &tc.status, tc.warnedFor, tc.now)
			if !got.At.Equal(tc.want.At) || got.Warned != tc.want.Warned || got.Due != tc.want.Due || !got.LookAgain.Equal(tc.want.LookAgain) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}
