package measure

import (
	"time"

	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

// Steps are those of `make bench`, in their order. What looks at an agent that has done nothing yet comes first, what loads
// the machine most comes last.
func Steps() []Step {
	return []Step{
		{Name: "idle", Rows: idleRows, limit: 30 * time.Minute, take: idle},
		{Name: "lifecycle", Rows: lifecycleRows, limit: 10 * time.Minute, take: lifecycle},
		{Name: "wake", Rows: wakeRows, limit: 10 * time.Minute, take: wake},
		{Name: "api", Rows: apiRows(), limit: 5 * time.Minute, take: apiLatency},
		{Name: "objects", Rows: objectRows, limit: 5 * time.Minute, take: objects},
		{Name: "pods", Rows: steadyRows(), limit: 10 * time.Minute, take: steadyPods},
		{Name: "burst", Rows: burstRows(), limit: 15 * time.Minute, take: burstPods},
	}
}

// Density is the step that looks for how many virtual clusters the machine holds.
func Density() []Step {
	return []Step{{Name: "density", Rows: []string{report.Awake, report.AwakeMemory}, limit: time.Hour, take: density}}
}

// Many is the step with many tenants.
func Many() []Step {
	return []Step{{Name: "scale", Rows: scaleRows, limit: 2 * time.Hour, take: scale}}
}

// Accounts is the step with many accounts and spaces.
func Accounts() []Step {
	return []Step{{Name: "accounts", Rows: accountRows, limit: time.Hour, take: accounts}}
}
