package sleep

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // the image of the agent has no database of time zones

	"github.com/robfig/cron/v3"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// longestGap is how far back a schedule is looked for its last time: the rarest cron expression, the 29th of February on one day of
// the week, comes every 28 years, or 40 around a century; nobody sleeps by that.
const longestGap = 5 * 366 * 24 * time.Hour

// parser knows the five fields of a crontab, and neither seconds nor @every nor TZ=.
var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// schedule is a SleepSchedule that can be read.
type schedule struct {
	sleep, wake cron.Schedule // wake is nil if only activity wakes
	zone        *time.Location
}

// readSchedule reports every error at once. Nil is no schedule.
func readSchedule(spec *tenancyv1alpha1.SleepSchedule) (*schedule, error) {
	if spec == nil {
		return nil, nil
	}
	var errs []error
	result := &schedule{zone: time.UTC}
	if spec.TimeZone != "" {
		zone, err := readZone(spec.TimeZone)
		if err != nil {
			errs = append(errs, err)
		} else {
			result.zone = zone
		}
	}
	var err error
	if result.sleep, err = readCron("sleep", spec.Sleep); err != nil {
		errs = append(errs, err)
	}
	if spec.Wake != "" {
		if result.wake, err = readCron("wake", spec.Wake); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return result, nil
}

// readZone refuses "Local", which is the zone of whatever machine the agent is on.
func readZone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New(`spec.sleep.schedule.timeZone "Local" is the zone of no place; name one such as Europe/Berlin`)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("spec.sleep.schedule.timeZone %q is not in the IANA database; name one such as Europe/Berlin", name)
	}
	return zone, nil
}

func readCron(field, expression string) (cron.Schedule, error) {
	if strings.Contains(expression, "TZ=") {
		return nil, fmt.Errorf("spec.sleep.schedule.%s %q names a time zone; say it in timeZone", field, expression)
	}
	parsed, err := parser.Parse(expression)
	if err != nil {
		return nil, fmt.Errorf("spec.sleep.schedule.%s %q cannot be read: %w; write minute, hour, day, month and day of the week, such as \"0 20 * * 1-5\"", field, expression, err)
	}
	return parsed, nil
}

// last is when a schedule last came, at now or before; zero if it did not within longestGap.
func (s *schedule) last(of cron.Schedule, now time.Time) time.Time {
	if of == nil {
		return time.Time{}
	}
	now = now.In(s.zone)
	for back := time.Hour; back <= longestGap; back *= 2 {
		var found time.Time
		for at := of.Next(now.Add(-back)); !at.IsZero() && !at.After(now); at = of.Next(at) {
			found = at
		}
		if !found.IsZero() {
			return found
		}
	}
	return time.Time{}
}

// next is when a schedule next comes after now; zero if never.
func (s *schedule) next(of cron.Schedule, now time.Time) time.Time {
	if of == nil {
		return time.Time{}
	}
	return of.Next(now.In(s.zone))
}
