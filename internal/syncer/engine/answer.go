package engine

import (
	"context"
	"io"
	"sync"
)

// charge is what one answer has of what all answers of its tenant may weigh together.
type charge struct {
	intake *intake

	mu sync.Mutex
	// The following are protected by mu.
	weight int64
	isOver bool
}

// add counts more; a negative weight is given back.
func (c *charge) add(weight int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isOver {
		return io.ErrClosedPipe
	}
	c.weight += weight
	if c.intake.under.Add(weight) > c.intake.most && weight > 0 {
		return errAnswerTooLarge
	}
	return nil
}

// end gives everything back.
func (c *charge) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isOver = true
	c.intake.under.Add(-c.weight)
	c.weight = 0
}

// hold keeps charges until somebody is done with what was decoded. Without one they end with the body, which client-go closes
// before it decodes what it has read.
type hold struct {
	mu sync.Mutex
	// The following are protected by mu.
	charges []*charge
	isOver  bool
}

type holdKey struct{}

// holding makes the answers to calls that are made with the context count until release is called.
func holding(ctx context.Context) (held context.Context, release func()) {
	h := &hold{}
	return context.WithValue(ctx, holdKey{}, h), h.release
}

func holdOf(ctx context.Context) *hold {
	h, _ := ctx.Value(holdKey{}).(*hold)
	return h
}

func (h *hold) keep(c *charge) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.isOver {
		c.end()
		return
	}
	h.charges = append(h.charges, c)
}

func (h *hold) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isOver = true
	for _, c := range h.charges {
		c.end()
	}
	h.charges = nil
}

// answer reads one JSON value.
type answer struct {
	from io.Reader
	ctx  context.Context //nolint:containedctx // a body is read within its request
	*charge
	weigher weigher
	left    int64 // of what this one may weigh
}

// Read implements io.Reader.
func (a *answer) Read(into []byte) (int, error) {
	n, err := a.from.Read(into)
	weight := a.weigher.weigh(into[:n])
	if a.left -= weight; a.left < 0 {
		return 0, errAnswerTooLarge
	}
	if err := a.add(weight); err != nil {
		return 0, err
	}
	if err := a.intake.pace(a.ctx, n, weight); err != nil {
		return 0, err
	}
	return n, err
}

// streamBuffers is how often the longest value of a watch is kept in buffers until the watch ends.
const streamBuffers = 4

// stream reads the JSON values of a watch.
type stream struct {
	from io.Reader
	ctx  context.Context //nolint:containedctx // a body is read within its request
	*charge
	weigher weigher

	// size and weight are those of the value that is being read, longest the size of the longest one.
	size, weight, longest int64
	// read is the weight of the values that the decoder may have, and passed of those that it had before: when it has read the next
	// one, the last may still wait to be metered.
	read, passed int64
}

// Read implements io.Reader. Who reads more has decoded what has ended.
func (s *stream) Read(into []byte) (int, error) {
	if s.read > 0 {
		if err := s.add(-s.passed); err != nil {
			return 0, err
		}
		s.passed, s.read = s.read, 0
	}
	n, err := s.from.Read(into)
	var total int64
	for _, b := range into[:n] {
		weight, ends := s.weigher.next(b)
		if s.size++; s.size > maxValue {
			return 0, errValueTooLarge
		}
		if s.size > s.longest {
			s.longest = s.size
			total += streamBuffers
		}
		total += weight
		if s.weight += weight; ends {
			s.read += s.weight
			s.size, s.weight = 0, 0
		}
	}
	if err := s.add(total); err != nil {
		return 0, err
	}
	if err := s.intake.pace(s.ctx, n, total); err != nil {
		return 0, err
	}
	return n, err
}
