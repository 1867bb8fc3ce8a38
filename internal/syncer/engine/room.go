package engine

import "sync"

// room is what all tenants together may have in the agent's memory. When they have more, the one that has most is let go: the others,
// which are smaller, go on.
type room struct {
	most int64 // 0 is no bound

	mu sync.Mutex
	// The following are protected by mu.
	taken  int64
	shares map[*share]bool
}

// share is what one tenant has of the room.
type share struct {
	room  *room
	letGo func()

	taken int64 // protected by room.mu
}

func newRoom(most int64) *room { return &room{most: most, shares: map[*share]bool{}} }

// enter begins a tenant's share. letGo is called, once, when it has most and there is no room.
func (r *room) enter(letGo func()) *share {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &share{room: r, letGo: letGo}
	r.shares[s] = true
	return s
}

// add counts more; negative bytes are given back. A share that has ended counts no more.
func (s *share) add(bytes int64) {
	if largest := s.room.count(s, bytes); largest != nil {
		largest.letGo()
	}
}

// end gives everything back.
func (s *share) end() {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.room.end(s)
}

// count returns the share that was ended for want of room, if there is one.
func (r *room) count(s *share, bytes int64) *share {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.shares[s] {
		return nil
	}
	s.taken += bytes
	r.taken += bytes
	if r.most == 0 || r.taken <= r.most || bytes <= 0 {
		return nil
	}
	largest := s
	for other := range r.shares {
		if other.taken > largest.taken {
			largest = other
		}
	}
	r.end(largest)
	return largest
}

// end is called with mu held.
func (r *room) end(s *share) {
	if r.shares[s] {
		delete(r.shares, s)
		r.taken -= s.taken
	}
}
