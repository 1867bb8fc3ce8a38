package machine

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// LoadAverage is the kernel's, over the last minute.
func LoadAverage() (string, error) {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", fmt.Errorf("read the load: %w", err)
	}
	first, _, _ := strings.Cut(string(content), " ")
	return first, nil
}

// Available is the memory that could be used without swapping, in bytes.
func Available() (int64, error) {
	content, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("read how much memory there is: %w", err)
	}
	kib, err := kibibytes(string(content), "MemAvailable")
	return kib << 10, err
}

// Ticks is the time of all processors so far.
type Ticks struct{ busy, all int64 }

// ReadTicks reads it.
func ReadTicks() (Ticks, error) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Ticks{}, fmt.Errorf("read the time of the processors: %w", err)
	}
	line, _, _ := strings.Cut(string(content), "\n")
	return parseTicks(line)
}

func parseTicks(line string) (Ticks, error) {
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return Ticks{}, fmt.Errorf("%q is not the first line of /proc/stat", line)
	}
	var ticks Ticks
	// What follows the eighth is counted in the first ones already.
	for index, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return Ticks{}, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks.all += n
		const idle, waiting = 3, 4
		if index != idle && index != waiting {
			ticks.busy += n
		}
	}
	return ticks, nil
}

// Busy is the part of the machine that had something to do between two readings, from 0 to 1.
func (t Ticks) Busy(before Ticks) float64 {
	if t.all == before.all {
		return 0
	}
	return float64(t.busy-before.busy) / float64(t.all-before.all)
}

// BusyFor measures how busy the machine is over a time.
func BusyFor(ctx context.Context, length time.Duration) (float64, error) {
	before, err := ReadTicks()
	if err != nil {
		return 0, err
	}
	if err := Pause(ctx, length); err != nil {
		return 0, err
	}
	after, err := ReadTicks()
	return after.Busy(before), err
}

// Pause lets time pass: rest is what is measured, and it has no condition to wait for.
func Pause(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
