package sleep

import (
	"fmt"
	"time"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// Situation is what a decision depends on.
type Situation struct {
	// Policy is what the owner asks for. Nil asks for nothing.
	Policy *tenancyv1alpha1.Sleep
	// Status as it was last written, with what Observe added.
	Status tenancyv1alpha1.SleepStatus
	// WakeAsked is when somebody last asked for it to wake; zero is never.
	WakeAsked time.Time
	// Held tells that it sleeps for another reason than its own, as a condition's reason and message; "" is none.
	Held, HeldMessage string
	// CannotSleep is why it cannot sleep at all; "" when it can.
	CannotSleep string
	Now         time.Time
}

// Decision is what has to be.
type Decision struct {
	Asleep bool
	// Reason and Message of the condition Asleep.
	Reason, Message string
	// NextChange is when the schedule next changes something; zero is never.
	NextChange time.Time
	// LookAgain is when time alone may change the decision; zero is never.
	LookAgain time.Time
}

// scheduleHolds is how long after its time a schedule still puts to sleep what is busy. What was used later, since no agent looked at
// the time, is not cut off in the middle of the day.
const scheduleHolds = 5 * time.Minute

func asleep(reason, message string) Decision {
	return Decision{Asleep: true, Reason: reason, Message: message}
}

func awake(reason, message string) Decision { return Decision{Reason: reason, Message: message} }

// IsEmpty tells whether a policy asks for nothing.
func IsEmpty(policy *tenancyv1alpha1.Sleep) bool {
	return policy == nil || policy.AfterIdle == nil && policy.Schedule == nil && policy.Force == ""
}

// Decide says whether it must sleep now.
func Decide(s Situation) Decision {
	if s.CannotSleep != "" {
		return awake(tenancyv1alpha1.ReasonCannotSleep, s.CannotSleep)
	}
	if s.Policy != nil && s.Policy.Force == tenancyv1alpha1.ForceAsleep {
		return asleep(tenancyv1alpha1.ReasonForced, "spec.sleep.force is Asleep; nothing wakes it until that is taken off")
	}
	if s.Held != "" {
		return asleep(s.Held, s.HeldMessage)
	}
	if IsEmpty(s.Policy) {
		return awake(tenancyv1alpha1.ReasonNoPolicy, "Nothing asks for it to sleep")
	}
	if s.Policy.Force == tenancyv1alpha1.ForceAwake {
		return awake(tenancyv1alpha1.ReasonForced, "spec.sleep.force is Awake")
	}
	times, err := readSchedule(s.Policy.Schedule)
	if err != nil {
		return awake(tenancyv1alpha1.ReasonBadSchedule, "It does not sleep: "+err.Error())
	}
	decision := s.byTime(times)
	if times == nil {
		return decision
	}
	decision.NextChange = times.next(times.sleep, s.Now)
	if decision.Asleep {
		decision.NextChange = times.next(times.wake, s.Now)
	}
	decision.LookAgain = sooner(decision.LookAgain, decision.NextChange)
	return decision
}

// byTime decides by what was asked, by the schedule and by idleness.
func (s *Situation) byTime(times *schedule) Decision {
	isAsleep, since := s.Status.IsAsleep(), timeOf(s.Status.Since)
	if isAsleep && s.WakeAsked.After(since) {
		return awake(tenancyv1alpha1.ReasonActive, "Somebody asked for it")
	}
	if times != nil {
		lastSleep, lastWake := times.last(times.sleep, s.Now), times.last(times.wake, s.Now)
		if isAsleep && lastWake.After(since) && lastWake.After(lastSleep) {
			return awake(tenancyv1alpha1.ReasonScheduled, "The schedule woke it at "+told(lastWake))
		}
		isNight := lastSleep.After(lastWake)
		switch {
		case isNight && isAsleep && s.Status.Cause == tenancyv1alpha1.ReasonIdle && s.Policy.AfterIdle != nil:
			// It slept before for idleness, and goes on to.
		case isNight && isAsleep && s.Status.Cause == tenancyv1alpha1.ReasonScheduled,
			isNight && lastSleep.After(since) && lastSleep.After(timeOf(s.Status.ScheduleSince)) && !timeOf(s.Status.LastActivity).After(lastSleep.Add(scheduleHolds)):
			return asleep(tenancyv1alpha1.ReasonScheduled, "The schedule put it to sleep at "+told(lastSleep))
		}
	}
	if s.Policy.AfterIdle == nil {
		return awake(tenancyv1alpha1.ReasonActive, "The schedule leaves it awake")
	}
	return s.byIdleness()
}

func (s *Situation) byIdleness() Decision {
	after := s.Policy.AfterIdle.Duration
	if s.Status.IsAsleep() && s.Status.Cause == tenancyv1alpha1.ReasonIdle {
		return asleep(tenancyv1alpha1.ReasonIdle, fmt.Sprintf("Nothing happened for %s", after))
	}
	idleSince := timeOf(s.Status.IdleSince)
	// What sleeps for a reason that is no longer one wakes, and is not idle yet.
	if s.Status.IsAsleep() || s.Status.IdleSince == nil || idleSince.After(s.Now) {
		idleSince = s.Now
	}
	sleepsAt := idleSince.Add(after)
	if !s.Now.Before(sleepsAt) {
		return asleep(tenancyv1alpha1.ReasonIdle, fmt.Sprintf("Nothing happened for %s", after))
	}
	decision := awake(tenancyv1alpha1.ReasonActive, fmt.Sprintf("It sleeps when nothing happens for %s", after))
	decision.LookAgain = sleepsAt
	return decision
}

func told(at time.Time) string { return at.Format("2006-01-02 15:04 MST") }

// sooner is the earlier of two times of which zero means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
