package engine

import "testing"

// BenchmarkQueue is what the queue costs for one key: into it, out of it, and done.
func BenchmarkQueue(b *testing.B) {
	q := testQueue(16, "a", "b")
	for index := 0; b.Loop(); index++ {
		w := key(index%3, "x")
		q.addFor("a", w, cause{})
		q.mu.Lock()
		it, _ := q.take()
		q.mu.Unlock()
		q.done(it, 0)
	}
}
