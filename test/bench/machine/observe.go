package machine

import (
	"context"
	"slices"
	"time"
)

// Use is what a process used over a time.
type Use struct {
	// Millicores on average.
	Millicores float64
	// Private memory in MiB, the median of several readings: a garbage collector makes it go up and down.
	Private float64
}

// readings of the memory over the time.
const readings = 6

// Observe watches several processes over the same time. The answers are in the order of the processes.
func Observe(ctx context.Context, length time.Duration, processes []Process) ([]Use, error) {
	before, err := cpuOf(processes)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	memory := make([][]float64, len(processes))
	for range readings {
		if err := Pause(ctx, length/readings); err != nil {
			return nil, err
		}
		for index, process := range processes {
			private, err := process.Private()
			if err != nil {
				return nil, err
			}
			memory[index] = append(memory[index], float64(private)/(1<<20))
		}
	}
	after, err := cpuOf(processes)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	uses := make([]Use, len(processes))
	for index := range processes {
		slices.Sort(memory[index])
		uses[index] = Use{
			Millicores: float64(after[index]-before[index]) / float64(took) * 1000,
			Private:    memory[index][readings/2],
		}
	}
	return uses, nil
}

func cpuOf(processes []Process) ([]time.Duration, error) {
	used := make([]time.Duration, len(processes))
	for index, process := range processes {
		var err error
		if used[index], err = process.CPU(); err != nil {
			return nil, err
		}
	}
	return used, nil
}
