package lab

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"
)

// Ledger holds when things were seen for the first time, by their names.
type Ledger struct {
	what string

	mu      sync.Mutex
	times   map[string]time.Time // protected by mu
	changed chan struct{}        // protected by mu; closed at the next entry
}

// NewLedger names what is seen, for errors.
func NewLedger(what string) *Ledger {
	return &Ledger{what: what, times: map[string]time.Time{}, changed: make(chan struct{})}
}

// Mark enters a name; only the first time counts.
func (l *Ledger) Mark(name string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, seen := l.times[name]; seen {
		return
	}
	l.times[name] = at
	close(l.changed)
	l.changed = make(chan struct{})
}

// WaitFor returns when a name was seen.
func (l *Ledger) WaitFor(ctx context.Context, name string) (time.Time, error) {
	var at time.Time
	err := l.wait(ctx, func() (seen bool) {
		at, seen = l.times[name]
		return seen
	})
	if err != nil {
		return at, fmt.Errorf("wait for %s of %q: %w", l.what, name, err)
	}
	return at, nil
}

// WaitForCount returns when so many names have been seen.
func (l *Ledger) WaitForCount(ctx context.Context, count int) error {
	seen := 0
	err := l.wait(ctx, func() bool {
		seen = len(l.times)
		return seen >= count
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %d of %d seen: %w", l.what, seen, count, err)
	}
	return nil
}

func (l *Ledger) wait(ctx context.Context, isDone func() bool) error {
	for {
		l.mu.Lock()
		done, changed := isDone(), l.changed
		l.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Times is a copy of all entries.
func (l *Ledger) Times() map[string]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.times)
}

// Since is the time from each entry of earlier to the entry of the same name here, for the names that both have.
func (l *Ledger) Since(earlier *Ledger) map[string]time.Duration {
	starts, ends := earlier.Times(), l.Times()
	lags := make(map[string]time.Duration, len(ends))
	for name, end := range ends {
		if start, ok := starts[name]; ok {
			lags[name] = end.Sub(start)
		}
	}
	return lags
}
