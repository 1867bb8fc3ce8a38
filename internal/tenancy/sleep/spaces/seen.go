package spaces

import (
	"sync"
	"time"
)

// seen is what this replica has seen happen in spaces. Of what it forgets in a restart idleness begins anew at worst.
type seen struct {
	mu sync.Mutex
	// The following are protected by mu, and hold at most the spaces that there are.
	touched  map[string]time.Time
	warnedAt map[string]time.Time // since when a warning is counted that is not in the status yet, by the clock of the process
}

func newSeen() *seen {
	return &seen{touched: map[string]time.Time{}, warnedAt: map[string]time.Time{}}
}

// touch notes that somebody has changed a workload.
func (s *seen) touch(space string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched[space] = now
}

func (s *seen) at(space string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.touched[space]
}

// sinceWarned is how long ago the warning was last counted.
func (s *seen) sinceWarned(space string, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.warnedAt[space]
	if !ok {
		return 0
	}
	return max(0, now.Sub(at))
}

func (s *seen) warned(space string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnedAt[space] = now
}

func (s *seen) endWarning(space string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.warnedAt, space)
}

func (s *seen) forget(space string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.touched, space)
	delete(s.warnedAt, space)
}
