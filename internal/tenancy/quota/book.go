package quota

import (
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// book is what this replica knows of one account's quota. Every replica keeps it; the one that owns the quota acts on it.
type book struct {
	mu   sync.Mutex
	lots map[string]*lot // protected by mu; by namespace
	// epoch is that of this replica, 0 while it is not the owner; protected by mu.
	epoch int64
	// mayRaiseAt is when what predecessors did not tell has settled; protected by mu.
	mayRaiseAt time.Time
	// statusAt is when the status was last written; used by the owner alone.
	statusAt time.Time
}

func newBook() *book { return &book{lots: map[string]*lot{}} }

// see takes a version of a ResourceQuota in.
func (b *book) see(quota *corev1.ResourceQuota, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lot(quota.Namespace).see(quota, now)
}

// lot is called with mu held.
func (b *book) lot(namespace string) *lot {
	one, ok := b.lots[namespace]
	if !ok {
		one = &lot{namespace: namespace}
		b.lots[namespace] = one
	}
	return one
}

// miss notes that a ResourceQuota is gone. What it said that is used counts until its namespace is gone, too.
func (b *book) miss(quota *corev1.ResourceQuota) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if one, ok := b.lots[quota.Namespace]; ok && one.quota != nil && one.quota.UID == quota.UID {
		one.isGone = true
	}
}

// lose makes this replica begin anew when it is the owner again.
func (b *book) lose() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.epoch = 0
}

func (b *book) ownEpoch() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.epoch
}

// sorted are the lots in the order of their namespaces. It is called with mu held.
func (b *book) sorted() []*lot {
	lots := make([]*lot, 0, len(b.lots))
	for _, namespace := range slices.Sorted(maps.Keys(b.lots)) {
		lots = append(lots, b.lots[namespace])
	}
	return lots
}
