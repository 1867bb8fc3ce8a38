package kubeletdoor

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// maxRequestsOfTenant bounds the requests and streams of one tenant at a time, so that the connections to the host's
// API server are left to the others.
const maxRequestsOfTenant = 256

// maxListingsOfTenant bounds the lists of a node's pods that are made for one tenant at a time: each is held in memory as
// a whole.
const maxListingsOfTenant = 2

type limits struct {
	most int

	mu sync.Mutex
	// running is protected by mu.
	running map[types.UID]int
}

func newLimits(most int) *limits { return &limits{most: most, running: map[types.UID]int{}} }

func (l *limits) acquire(uid types.UID) (release func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[uid] >= l.most {
		return nil, false
	}
	l.running[uid]++
	return func() { l.release(uid) }, true
}

func (l *limits) release(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[uid]--
	if l.running[uid] == 0 {
		delete(l.running, uid)
	}
}

var errOutput = errors.New("the command writes too much")

// boundedBuffer keeps output up to a limit. Standard output and error come from two goroutines.
type boundedBuffer struct {
	mu sync.Mutex
	// text is protected by mu while the command runs.
	text bytes.Buffer
}

// Write keeps p, or fails when it is too much.
func (b *boundedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.text.Len()+len(p) > maxRunOutput {
		return 0, fmt.Errorf("%w: more than %d bytes", errOutput, maxRunOutput)
	}
	return b.text.Write(p)
}
