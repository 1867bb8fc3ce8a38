package virtualcluster

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// memory is what the lifecycle controller remembers between two looks at a virtual cluster, only to save work: all of
// it is found out again after a restart.
type memory struct {
	mu    sync.Mutex
	byUID map[types.UID]*remembered // protected by mu
	// stopped are the epochs whose earlier pods have all been asked to end. Nothing makes that untrue.
	stopped map[types.UID]int64 // protected by mu
}

// remembered is about one virtual cluster. One worker at a time uses it.
type remembered struct {
	// term is the time with this replica that this is of; see shards.Shares.
	term int64
	// made is the result of the last complete application of generation, at appliedAt, for a control plane that runs or does not.
	made       *made
	generation int64
	runs       bool
	appliedAt  time.Time
	// refusedSince is when the host first refused the agent, in the present attempt.
	refusedSince time.Time
	// waitingSince is when the present wait for readiness began; zero while the control plane is ready.
	waitingSince time.Time
	// endpoints is what was last written into the tenant, and when.
	endpoints   string
	endpointsAt time.Time
	// warnedAt is when it was last seen that a deletion is warned of; zero while it is not.
	warnedAt time.Time
}

func newMemory() *memory {
	return &memory{byUID: map[types.UID]*remembered{}, stopped: map[types.UID]int64{}}
}

func (m *memory) hasStopped(uid types.UID, epoch int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stopped[uid] >= epoch
}

func (m *memory) noteStopped(uid types.UID, epoch int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped[uid] = epoch
}

// end forgets all of a virtual cluster that is gone.
func (m *memory) end(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byUID, uid)
	delete(m.stopped, uid)
}

func (m *memory) of(uid types.UID) *remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry, ok := m.byUID[uid]
	if !ok {
		entry = &remembered{}
		m.byUID[uid] = entry
	}
	return entry
}

// keep forgets what is of another term: another replica may have applied other things meanwhile.
func (m *memory) keep(uid types.UID, term int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if entry, ok := m.byUID[uid]; ok && entry.term != term {
		delete(m.byUID, uid)
	}
	if _, ok := m.byUID[uid]; !ok && term != 0 {
		m.byUID[uid] = &remembered{term: term}
	}
}

// forget makes the next look at a virtual cluster apply everything.
func (m *memory) forget(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if entry, ok := m.byUID[uid]; ok {
		m.byUID[uid] = &remembered{term: entry.term}
	}
}
