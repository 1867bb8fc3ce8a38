package agent

import (
	"context"
	"errors"
	"sync/atomic"

	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// everyReplica is a part that does not wait for the lease.
type everyReplica func(ctx context.Context) error

// Start runs the part until the context ends.
func (e everyReplica) Start(ctx context.Context) error { return e(ctx) }

// NeedLeaderElection is false.
func (e everyReplica) NeedLeaderElection() bool { return false }

var (
	_ manager.Runnable               = everyReplica(nil)
	_ manager.LeaderElectionRunnable = everyReplica(nil)
)

var errNotFilled = errors.New("the caches are not filled yet")

// flag is set once.
type flag struct{ isSet atomic.Bool }

func (f *flag) set() { f.isSet.Store(true) }

func (f *flag) check() error {
	if !f.isSet.Load() {
		return errNotFilled
	}
	return nil
}
