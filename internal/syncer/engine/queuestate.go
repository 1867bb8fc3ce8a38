package engine

// depth is the number of pieces of work that wait, of all tenants.
func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	total := 0
	for _, t := range q.tenants {
		total += len(t.queued)
	}
	return total
}

// blockedTenants is the number of tenants that the breaker keeps from being served.
func (q *queue) blockedTenants() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	total := 0
	for _, t := range q.tenants {
		if t.blocked {
			total++
		}
	}
	return total
}

// idle tells whether nothing waits or is being done.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.tenants {
		if len(t.queued)-t.waitingUnanswered+len(t.processing) > 0 {
			return false
		}
	}
	return true
}
