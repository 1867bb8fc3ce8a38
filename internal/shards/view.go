package shards

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// view is what a replica has seen of the Leases, with the times of its own clock. It is safe for concurrent use.
type view struct {
	log *slog.Logger
	// changed receives a value after something was seen.
	changed chan struct{}

	mu sync.Mutex
	// The following are protected by mu.
	members map[string]sighting
	table   table
	isKnown bool
}

// sighting is a version of a replica's Lease and when it was first seen. "" means that there is none.
type sighting struct {
	version string
	since   time.Time
}

func newView(log *slog.Logger) *view {
	return &view{log: log, changed: make(chan struct{}, 1), members: map[string]sighting{}}
}

// tableNow is the table that is known.
func (v *view) tableNow() table {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.table
}

// seeAll takes a list of all Leases. before is the table that was known when it was asked for: a table that was made only
// then is not gone because the list is without it.
func (v *view) seeAll(leases []coordinationv1.Lease, before table) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now, present, seen := time.Now(), map[string]bool{}, table{}
	for index := range leases {
		lease := &leases[index]
		present[lease.Name] = true
		if lease.Labels[labelRole] == roleTable {
			seen = v.parse(lease)
			continue
		}
		v.see(lease.Name, lease.ResourceVersion, now)
	}
	if seen.uid != "" || v.table.uid == before.uid {
		v.seeTable(seen, now)
	}
	for name := range v.members {
		if present[name] {
			continue
		}
		if len(v.table.holders[name]) == 0 {
			delete(v.members, name)
			continue
		}
		v.see(name, "", now)
	}
	v.isKnown = true
	v.signal()
}

// seeEvent takes what a watch tells.
func (v *view) seeEvent(kind watch.EventType, lease *coordinationv1.Lease) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now, isDeleted := time.Now(), kind == watch.Deleted
	switch {
	case lease.Labels[labelRole] != roleTable && isDeleted:
		v.see(lease.Name, "", now)
	case lease.Labels[labelRole] != roleTable:
		v.see(lease.Name, lease.ResourceVersion, now)
	case isDeleted && lease.UID == v.table.uid:
		v.table = table{}
	case !isDeleted:
		v.seeTable(v.parse(lease), now)
	}
	v.signal()
}

// wrote takes the table that this replica has just written.
func (v *view) wrote(lease *coordinationv1.Lease) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seeTable(v.parse(lease), time.Now())
}

func (v *view) parse(lease *coordinationv1.Lease) table {
	read, err := parseTable(lease)
	if err != nil {
		v.log.Error("Table of shards is broken", "error", err)
	}
	return read
}

// see must be called with mu held.
func (v *view) see(name, version string, now time.Time) {
	if before, ok := v.members[name]; !ok || before.version != version {
		v.members[name] = sighting{version: version, since: now}
	}
}

// seeTable must be called with mu held. A watch may be behind what a list or a write has shown.
func (v *view) seeTable(seen table, now time.Time) {
	if !seen.isNewerThan(v.table) {
		return
	}
	v.table = seen
	for name := range seen.holders {
		if _, ok := v.members[name]; !ok {
			v.see(name, "", now)
		}
	}
}

// signal must be called with mu held.
func (v *view) signal() {
	select {
	case v.changed <- struct{}{}:
	default: // one is waiting already
	}
}

// startAgain takes everybody for just renewed: while this replica itself could not reach the API server, others could not
// either, perhaps.
func (v *view) startAgain() {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	for name, seen := range v.members {
		v.members[name] = sighting{version: seen.version, since: now}
	}
}

// glance is what is known at one moment.
type glance struct {
	table table
	// live are the replicas that show signs of life.
	live []string
	// dead have shown none for so long that they have stopped serving, if they run at all; the versions are their Leases'.
	dead map[string]string
}

// now is what is known; ok is false before anything is.
func (v *view) now() (seen glance, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	seen = glance{table: v.table, dead: map[string]string{}}
	for name, member := range v.members {
		switch {
		case now.Sub(member.since) >= expireAfter:
			seen.dead[name] = member.version
		case member.version != "":
			seen.live = append(seen.live, name)
		}
	}
	slices.Sort(seen.live)
	return seen, v.isKnown
}

// untilExpiry is after how long the next replica is dead, unless it is renewed.
func (v *view) untilExpiry() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	soonest := expireAfter
	for _, member := range v.members {
		if left := expireAfter - time.Since(member.since); left > 0 {
			soonest = min(soonest, left)
		}
	}
	return soonest
}
