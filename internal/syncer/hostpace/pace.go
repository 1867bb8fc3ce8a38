package hostpace

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Options of a Pace. The zero value of each field has a good default.
type Options struct {
	// Least and Most bound how many calls run at once. 0 means 2 and 64.
	Least, Most int
	// Step is the time between two calls more. 0 means half a second: a host with a dozen places is then found out once in
	// some seconds, and everything is given back within half a minute.
	Step time.Duration
	// MaxWait is how long a call waits for its place before it is given up. 0 means a second.
	MaxWait time.Duration
	// MaxPause bounds for how long one answer holds everything back. 0 means ten seconds.
	MaxPause time.Duration
}

// defaultPause is for an answer that does not say how long to wait.
const defaultPause = time.Second

// BusyError says that the host has no room for a call. Nothing was written.
type BusyError struct {
	// After is when to try again; 0 means that it is not known.
	After time.Duration
}

// Error implements error.
func (e *BusyError) Error() string {
	if e.After > 0 {
		return fmt.Sprintf("the host's API server has too many requests; try again in %s", e.After.Round(time.Millisecond))
	}
	return "the host's API server has too many requests; try again"
}

// Pace says when a call may be made. It is safe for concurrent use.
type Pace struct {
	options Options

	mu sync.Mutex
	// The following are protected by mu.
	limit       int
	running     int
	waiting     []*place // first come first
	throttled   uint64
	reducedAt   time.Time
	grownAt     time.Time
	pausedUntil time.Time
	resume      *time.Timer // calls grant when the pause is over
}

// place is what a call waits for. It is given when free is closed.
type place struct{ free chan struct{} }

// New makes a Pace that begins with all calls allowed.
func New(options Options) *Pace {
	if options.Least == 0 {
		options.Least = 2
	}
	if options.Most == 0 {
		options.Most = 64
	}
	if options.Step == 0 {
		options.Step = 500 * time.Millisecond
	}
	if options.MaxWait == 0 {
		options.MaxWait = time.Second
	}
	if options.MaxPause == 0 {
		options.MaxPause = 10 * time.Second
	}
	return &Pace{options: options, limit: options.Most}
}

// Limit is how many calls may run at once now.
func (p *Pace) Limit() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}

// Share is how much of what the host allows at best it allows now: above 0, and at most 1.
func (p *Pace) Share() float64 { return float64(p.Limit()) / float64(p.options.Most) }

// Throttled is how often the host answered that it has too many requests.
func (p *Pace) Throttled() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.throttled
}

// begin waits for a place. After success, end or throttle must be called once.
func (p *Pace) begin(ctx context.Context) error {
	mine, err := p.ask()
	if err != nil || mine == nil {
		return err
	}
	timer := time.NewTimer(p.options.MaxWait)
	defer timer.Stop()
	select {
	case <-mine.free:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = &BusyError{}
	}
	if p.leave(mine) {
		return err
	}
	return nil // it was given at the same moment
}

// ask takes a place, or returns one to wait for.
func (p *Pace) ask() (*place, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pause := time.Until(p.pausedUntil)
	if pause > p.options.MaxWait {
		return nil, &BusyError{After: pause}
	}
	if pause <= 0 && len(p.waiting) == 0 && p.running < p.limit {
		p.running++
		return nil, nil
	}
	mine := &place{free: make(chan struct{})}
	p.waiting = append(p.waiting, mine)
	return mine, nil
}

// leave gives up waiting and returns false if the place has been given.
func (p *Pace) leave(mine *place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for index, other := range p.waiting {
		if other == mine {
			p.waiting = append(p.waiting[:index:index], p.waiting[index+1:]...)
			return true
		}
	}
	return false
}

// end frees the place of a call. isAnswered says that the host took it.
func (p *Pace) end(isAnswered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wasFull := p.running >= p.limit
	p.running--
	// What is not used up is not known to be too little.
	if isAnswered && wasFull && p.limit < p.options.Most && time.Since(p.grownAt) >= p.options.Step {
		p.limit++
		p.grownAt = time.Now()
	}
	p.grant()
}

// throttle frees the place of a call that began then and that the host refused, and returns how long it asks to wait. Calls
// that began before the last reduction tell nothing new.
func (p *Pace) throttle(began time.Time, after time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.throttled++
	now := time.Now()
	if !began.Before(p.reducedAt) {
		p.limit = max(min(p.limit, p.running)/2, p.options.Least)
		p.reducedAt = now
	}
	p.running--
	if after <= 0 {
		after = defaultPause
	}
	after = min(after, p.options.MaxPause)
	if until := now.Add(after); until.After(p.pausedUntil) {
		p.pausedUntil, p.grownAt = until, until
		if p.resume != nil {
			p.resume.Stop()
		}
		p.resume = time.AfterFunc(after, p.granted)
	}
	return after
}

func (p *Pace) granted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grant()
}

// grant gives free places to those who wait.
func (p *Pace) grant() {
	if time.Until(p.pausedUntil) > 0 {
		return // resume comes
	}
	for len(p.waiting) > 0 && p.running < p.limit {
		close(p.waiting[0].free)
		p.waiting = p.waiting[1:]
		p.running++
	}
}
