package sleep_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/sleep"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse("2006-01-02 15:04:05 MST", text+" UTC")
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func hours(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Hour} }

func stamp(at time.Time) *metav1.Time { return &metav1.Time{Time: at} }

func TestDecide(t *testing.T) {
	office := &tenancyv1alpha1.SleepSchedule{Sleep: "0 20 * * 1-5", Wake: "0 7 * * 1-5", TimeZone: "UTC"}
	// The 4th of March 2026 is a Wednesday.
	morning, noon, evening, night := at(t, "2026-03-04 06:59:00"), at(t, "2026-03-04 12:00:00"), at(t, "2026-03-04 20:00:00"), at(t, "2026-03-04 23:00:00")
	cases := map[string]struct {
		reason    string
		situation sleep.Situation
		asleep    bool
		cause     string
		message   string
		look      time.Time
		change    time.Time
	}{
		"NoPolicy": {
			reason:    "nothing is asked for",
			situation: sleep.Situation{Now: noon},
			cause:     tenancyv1alpha1.ReasonNoPolicy,
		},
		"ForcedAsleep": {
			reason:    "nothing wakes what is forced asleep",
			situation: sleep.Situation{Now: noon, WakeAsked: noon, Policy: &tenancyv1alpha1.Sleep{Force: "Asleep"}},
			asleep:    true, cause: tenancyv1alpha1.ReasonForced,
		},
		"ForcedAwakeAtNight": {
			reason:    "force comes before the schedule",
			situation: sleep.Situation{Now: night, Policy: &tenancyv1alpha1.Sleep{Force: "Awake", Schedule: office}},
			cause:     tenancyv1alpha1.ReasonForced,
		},
		"HeldThoughForcedAwake": {
			reason:    "a space that sleeps is stronger than the wish of what is in it",
			situation: sleep.Situation{Now: noon, Held: tenancyv1alpha1.ReasonSpaceAsleep, Policy: &tenancyv1alpha1.Sleep{Force: "Awake"}},
			asleep:    true, cause: tenancyv1alpha1.ReasonSpaceAsleep,
		},
		"UsedSinceTheScheduleWasMissed": {
			reason: "who works at night since nobody looked at the time is not cut off",
			situation: sleep.Situation{
				Now: night, Policy: &tenancyv1alpha1.Sleep{Schedule: office},
				Status: tenancyv1alpha1.SleepStatus{Since: stamp(noon), LastActivity: stamp(night.Add(-time.Minute))},
			},
			cause: tenancyv1alpha1.ReasonActive,
		},
		"BusyAtTheTimeOfTheSchedule": {
			reason: "the schedule puts to sleep what is busy, too",
			situation: sleep.Situation{
				Now: evening.Add(time.Minute), Policy: &tenancyv1alpha1.Sleep{Schedule: office},
				Status: tenancyv1alpha1.SleepStatus{Since: stamp(noon), LastActivity: stamp(evening.Add(30 * time.Second))},
			},
			asleep: true, cause: tenancyv1alpha1.ReasonScheduled, change: at(t, "2026-03-05 07:00:00"),
		},
		"CannotSleep": {
			reason:    "what would lose its objects stays awake even by force",
			situation: sleep.Situation{Now: noon, CannotSleep: "it keeps its objects in memory", Policy: &tenancyv1alpha1.Sleep{Force: "Asleep"}},
			cause:     tenancyv1alpha1.ReasonCannotSleep, message: "memory",
		},
		"IdleLongEnough": {
			situation: sleep.Situation{
				Now: noon, Policy: &tenancyv1alpha1.Sleep{AfterIdle: hours(1)},
				Status: tenancyv1alpha1.SleepStatus{IdleSince: stamp(noon.Add(-time.Hour))},
			},
			asleep: true, cause: tenancyv1alpha1.ReasonIdle,
		},
		"NotIdleYet": {
			situation: sleep.Situation{
				Now: noon, Policy: &tenancyv1alpha1.Sleep{AfterIdle: hours(1)},
				Status: tenancyv1alpha1.SleepStatus{IdleSince: stamp(noon.Add(-time.Hour + time.Second))},
			},
			cause: tenancyv1alpha1.ReasonActive, look: noon.Add(time.Second),
		},
		"ClockWentBack": {
			reason: "an idleness that begins in the future begins now",
			situation: sleep.Situation{
				Now: noon, Policy: &tenancyv1alpha1.Sleep{AfterIdle: hours(1)},
				Status: tenancyv1alpha1.SleepStatus{IdleSince: stamp(noon.Add(24 * time.Hour))},
			},
			cause: tenancyv1alpha1.ReasonActive, look: noon.Add(time.Hour),
		},
		"IdleGoesOn": {
			situation: sleep.Situation{Now: noon, Policy: &tenancyv1alpha1.Sleep{AfterIdle: hours(1)}, Status: tenancyv1alpha1.SleepStatus{
				Phase: tenancyv1alpha1.PhaseAsleep, Cause: tenancyv1alpha1.ReasonIdle, Since: stamp(morning), IdleSince: stamp(morning),
			}, WakeAsked: morning},
			asleep: true, cause: tenancyv1alpha1.ReasonIdle,
		},
		"Woken": {
			situation: sleep.Situation{Now: noon, Policy: &tenancyv1alpha1.Sleep{AfterIdle: hours(1)}, Status: tenancyv1alpha1.SleepStatus{
				Phase: tenancyv1alpha1.PhaseAsleep, Cause: tenancyv1alpha1.ReasonIdle, Since: stamp(morning), IdleSince: stamp(morning),
			}, WakeAsked: morning.Add(time.Second)},
			cause: tenancyv1alpha1.ReasonActive,
		},
		"ForceTakenOff": {
			reason: "what was forced wakes, and is not idle for the time that it was",
			situation: sleep.Situation{Now: noon, Policy: &tenancyv1alpha1.Sleep{AfterIdle: hours(1)}, Status: tenancyv1alpha1.SleepStatus{
				Phase: tenancyv1alpha1.PhaseAsleep, Cause: tenancyv1alpha1.ReasonForced, Since: stamp(morning), IdleSince: stamp(morning),
			}},
			cause: tenancyv1alpha1.ReasonActive, look: noon.Add(time.Hour),
		},
		"PolicyTakenOff": {
			situation: sleep.Situation{Now: noon, Status: tenancyv1alpha1.SleepStatus{
				Phase: tenancyv1alpha1.PhaseAsleep, Cause: tenancyv1alpha1.ReasonIdle, Since: stamp(morning),
			}},
			cause: tenancyv1alpha1.ReasonNoPolicy,
		},
		"Evening": {
			situation: sleep.Situation{Now: evening, Policy: &tenancyv1alpha1.Sleep{Schedule: office}, Status: tenancyv1alpha1.SleepStatus{Since: stamp(morning)}},
			asleep:    true, cause: tenancyv1alpha1.ReasonScheduled, message: "2026-03-04 20:00 UTC",
			change: at(t, "2026-03-05 07:00:00"), look: at(t, "2026-03-05 07:00:00"),
		},
		"BeforeEvening": {
			situation: sleep.Situation{Now: noon, Policy: &tenancyv1alpha1.Sleep{Schedule: office}, Status: tenancyv1alpha1.SleepStatus{Since: stamp(morning)}},
			cause:     tenancyv1alpha1.ReasonActive, change: evening, look: evening,
		},
		"MadeAtNight": {
			reason:    "nothing is born asleep",
			situation: sleep.Situation{Now: night, Policy: &tenancyv1alpha1.Sleep{Schedule: office}, Status: tenancyv1alpha1.SleepStatus{Since: stamp(night)}},
			cause:     tenancyv1alpha1.ReasonActive,
		},
		"WokenAtNight": {
			reason: "who is woken at night stays awake until the next evening",
			situation: sleep.Situation{
				Now: night.Add(time.Hour), Policy: &tenancyv1alpha1.Sleep{Schedule: office},
				Status: tenancyv1alpha1.SleepStatus{Since: stamp(night)},
			},
			cause: tenancyv1alpha1.ReasonActive, change: at(t, "2026-03-05 20:00:00"),
		},
		"Morning": {
			situation: sleep.Situation{Now: at(t, "2026-03-05 07:00:00"), Policy: &tenancyv1alpha1.Sleep{Schedule: office}, Status: tenancyv1alpha1.SleepStatus{
				Phase: tenancyv1alpha1.PhaseAsleep, Cause: tenancyv1alpha1.ReasonScheduled, Since: stamp(evening),
			}},
			cause: tenancyv1alpha1.ReasonScheduled, message: "woke it at 2026-03-05 07:00",
		},
		"MorningOfTheIdle": {
			reason: "the schedule wakes what sleeps for idleness, too",
			situation: sleep.Situation{Now: at(t, "2026-03-05 07:00:00"), Policy: &tenancyv1alpha1.Sleep{AfterIdle: hours(1), Schedule: office}, Status: tenancyv1alpha1.SleepStatus{
				Phase: tenancyv1alpha1.PhaseAsleep, Cause: tenancyv1alpha1.ReasonIdle, Since: stamp(noon), IdleSince: stamp(noon),
			}},
			cause: tenancyv1alpha1.ReasonScheduled,
		},
		"IdleIntoTheNight": {
			reason: "it goes on sleeping for idleness",
			situation: sleep.Situation{Now: night, Policy: &tenancyv1alpha1.Sleep{AfterIdle: hours(1), Schedule: office}, Status: tenancyv1alpha1.SleepStatus{
				Phase: tenancyv1alpha1.PhaseAsleep, Cause: tenancyv1alpha1.ReasonIdle, Since: stamp(noon), IdleSince: stamp(noon),
			}},
			asleep: true, cause: tenancyv1alpha1.ReasonIdle,
		},
		"Weekend": {
			situation: sleep.Situation{Now: at(t, "2026-03-08 12:00:00"), Policy: &tenancyv1alpha1.Sleep{Schedule: office}, Status: tenancyv1alpha1.SleepStatus{
				Phase: tenancyv1alpha1.PhaseAsleep, Cause: tenancyv1alpha1.ReasonScheduled, Since: stamp(at(t, "2026-03-06 20:00:00")),
			}},
			asleep: true, cause: tenancyv1alpha1.ReasonScheduled, change: at(t, "2026-03-09 07:00:00"),
		},
		"BadScheduleWakes": {
			reason: "a schedule that somebody breaks must not leave workloads at zero",
			situation: sleep.Situation{Now: night, Policy: &tenancyv1alpha1.Sleep{Schedule: &tenancyv1alpha1.SleepSchedule{Sleep: "at eight o'clock"}}, Status: tenancyv1alpha1.SleepStatus{
				Phase: tenancyv1alpha1.PhaseAsleep, Cause: tenancyv1alpha1.ReasonScheduled, Since: stamp(evening),
			}},
			cause: tenancyv1alpha1.ReasonBadSchedule, message: `spec.sleep.schedule.sleep "at eight o'clock" cannot be read`,
		},
		"EmbeddedZone": {
			situation: sleep.Situation{Now: night, Policy: &tenancyv1alpha1.Sleep{Schedule: &tenancyv1alpha1.SleepSchedule{Sleep: "TZ=Asia/Tokyo 0 20 * * *"}}},
			cause:     tenancyv1alpha1.ReasonBadSchedule, message: "names a time zone",
		},
		"EmbeddedCronZone": {
			situation: sleep.Situation{Now: night, Policy: &tenancyv1alpha1.Sleep{Schedule: &tenancyv1alpha1.SleepSchedule{Sleep: "0 20 * * *", Wake: "CRON_TZ=Asia/Tokyo 0 7 * * *"}}},
			cause:     tenancyv1alpha1.ReasonBadSchedule, message: "names a time zone",
		},
		"NoSuchZone": {
			situation: sleep.Situation{Now: night, Policy: &tenancyv1alpha1.Sleep{Schedule: &tenancyv1alpha1.SleepSchedule{Sleep: "0 20 * * *", TimeZone: "Europe/Atlantis"}}},
			cause:     tenancyv1alpha1.ReasonBadSchedule, message: "Europe/Atlantis",
		},
		"ZoneOfTheMachine": {
			situation: sleep.Situation{Now: night, Policy: &tenancyv1alpha1.Sleep{Schedule: &tenancyv1alpha1.SleepSchedule{Sleep: "0 20 * * *", TimeZone: "Local"}}},
			cause:     tenancyv1alpha1.ReasonBadSchedule, message: "Local",
		},
		"ZonesThatLeaveTheDatabase": {
			situation: sleep.Situation{Now: night, Policy: &tenancyv1alpha1.Sleep{Schedule: &tenancyv1alpha1.SleepSchedule{Sleep: "0 20 * * *", TimeZone: "../../etc/passwd"}}},
			cause:     tenancyv1alpha1.ReasonBadSchedule,
		},
		"Seconds": {
			situation: sleep.Situation{Now: night, Policy: &tenancyv1alpha1.Sleep{Schedule: &tenancyv1alpha1.SleepSchedule{Sleep: "0 0 20 * * *"}}},
			cause:     tenancyv1alpha1.ReasonBadSchedule,
		},
		"NeverComes": {
			reason:    "the 30th of February",
			situation: sleep.Situation{Now: night, Policy: &tenancyv1alpha1.Sleep{Schedule: &tenancyv1alpha1.SleepSchedule{Sleep: "0 20 30 2 *"}}},
			cause:     tenancyv1alpha1.ReasonActive,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := sleep.Decide(tc.situation)
			if got.Asleep != tc.asleep || got.Reason != tc.cause || !strings.Contains(got.Message, tc.message) || got.Message == "" && tc.situation.Held == "" {
				t.Errorf("got %+v; want asleep %t for %s and a message with %q: %s", got, tc.asleep, tc.cause, tc.message, tc.reason)
			}
			if !tc.look.IsZero() && !got.LookAgain.Equal(tc.look) {
				t.Errorf("it is looked at again at %s, want %s", got.LookAgain, tc.look)
			}
			if !tc.change.IsZero() && !got.NextChange.Equal(tc.change) {
				t.Errorf("the next change is at %s, want %s", got.NextChange, tc.change)
			}
		})
	}
}

// TestSummerTime: a night in which the clocks are changed has its evening and its morning, once each.
func TestSummerTime(t *testing.T) {
	cases := map[string]struct{ zone, sleep, wake, from, to string }{
		"Spring":       {"Europe/Berlin", "0 20 * * *", "0 7 * * *", "2026-03-28 12:00:00", "2026-03-30 12:00:00"},
		"Autumn":       {"Europe/Berlin", "0 20 * * *", "0 7 * * *", "2026-10-24 12:00:00", "2026-10-26 12:00:00"},
		"InTheGap":     {"Europe/Berlin", "30 2 * * *", "0 7 * * *", "2026-03-28 12:00:00", "2026-03-30 12:00:00"},
		"HourTwice":    {"Europe/Berlin", "30 2 * * *", "0 7 * * *", "2026-10-24 12:00:00", "2026-10-26 12:00:00"},
		"MidnightGap":  {"Africa/Cairo", "0 0 * * *", "0 7 * * *", "2026-04-23 10:00:00", "2026-04-25 10:00:00"},
		"OtherHalfDay": {"Pacific/Auckland", "0 20 * * *", "0 7 * * *", "2026-04-04 00:00:00", "2026-04-06 00:00:00"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			policy := &tenancyv1alpha1.Sleep{Schedule: &tenancyv1alpha1.SleepSchedule{Sleep: tc.sleep, Wake: tc.wake, TimeZone: tc.zone}}
			status := tenancyv1alpha1.SleepStatus{Since: stamp(at(t, tc.from))}
			sleeps, wakes := 0, 0
			for now := at(t, tc.from); now.Before(at(t, tc.to)); now = now.Add(time.Minute) {
				decision := sleep.Decide(sleep.Situation{Policy: policy, Status: status, Now: now})
				switch {
				case decision.Asleep && !status.IsAsleep():
					sleep.FallAsleep(&status, decision.Reason, now)
					sleeps++
				case !decision.Asleep && status.IsAsleep():
					sleep.WakeUp(&status, now)
					wakes++
				}
			}
			// A time that does not exist may be left out, and one that comes twice may count twice if it sleeps already.
			if sleeps != 2 && (name != "InTheGap" && name != "MidnightGap" || sleeps != 1) || wakes != sleeps {
				t.Errorf("it fell asleep %d times and woke %d times in two nights", sleeps, wakes)
			}
		})
	}
}

func TestTimesInTheFutureAreNow(t *testing.T) {
	now := at(t, "2026-03-04 12:00:00")
	annotations := map[string]string{"far": "2999-01-01T00:00:00Z", "near": "2026-03-04T11:00:00Z", "bad": "yesterday"}
	for key, want := range map[string]time.Time{"far": now, "near": now.Add(-time.Hour), "bad": {}, "missing": {}} {
		if got := sleep.Told(annotations, key, now); !got.Equal(want) {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
}

// TestIdlenessBeginsWithThePolicy: what existed for a year before somebody asked for it to sleep is not idle for a year.
func TestScheduleBeginsWhenItIsSaid(t *testing.T) {
	said, evening := at(t, "2026-03-04 10:00:00"), at(t, "2026-03-04 20:00:00")
	policy := &tenancyv1alpha1.Sleep{Schedule: &tenancyv1alpha1.SleepSchedule{Sleep: "0 20 * * *", TimeZone: "UTC"}}
	status := tenancyv1alpha1.SleepStatus{Since: stamp(said.AddDate(0, 0, -7))}
	for _, step := range []struct {
		now    time.Time
		asleep bool
		reason string
	}{
		{said, false, "yesterday's evening was before the schedule"},
		{evening.Add(-time.Minute), false, "the evening has not come"},
		{evening, true, "the evening has come"},
	} {
		sleep.Observe(&status, policy, time.Time{}, step.now)
		if got := sleep.Decide(sleep.Situation{Policy: policy, Status: status, Now: step.now}); got.Asleep != step.asleep {
			t.Errorf("%s: asleep %t (%s)", step.reason, got.Asleep, got.Message)
		}
	}
	policy.Schedule.Sleep = "0 19 * * *"
	sleep.Observe(&status, policy, time.Time{}, evening.Add(time.Minute))
	if got := sleep.Decide(sleep.Situation{Policy: policy, Status: status, Now: evening.Add(time.Minute)}); got.Asleep {
		t.Errorf("19:00 was before the schedule said so: %s", got.Message)
	}
}

func TestIdlenessBeginsWithThePolicy(t *testing.T) {
	now := at(t, "2026-03-04 12:00:00")
	year := now.Add(-365 * 24 * time.Hour)
	status := tenancyv1alpha1.SleepStatus{Since: stamp(year), LastActivity: stamp(year)}
	policy := &tenancyv1alpha1.Sleep{AfterIdle: hours(1)}
	sleep.Observe(&status, nil, year, now)
	sleep.Observe(&status, policy, year, now)
	if decision := sleep.Decide(sleep.Situation{Policy: policy, Status: status, Now: now}); decision.Asleep {
		t.Errorf("it sleeps at once: %+v", decision)
	}
	later := now.Add(50 * time.Minute)
	sleep.Observe(&status, policy, later, later)
	if got := sleep.Decide(sleep.Situation{Policy: policy, Status: status, Now: now.Add(time.Hour)}); got.Asleep {
		t.Errorf("it sleeps although something happened: %+v", got)
	}
	if got := sleep.Decide(sleep.Situation{Policy: policy, Status: status, Now: later.Add(time.Hour)}); !got.Asleep {
		t.Errorf("it does not sleep: %+v", got)
	}
}
