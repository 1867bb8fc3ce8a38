package shards

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// ErrReplaced says that another process has taken this replica's name.
var ErrReplaced = errors.New("another process runs as this replica of the agent; give each a --replica of its own")

// errVanished says that somebody has deleted the Lease: this replica was taken for dead, perhaps.
var errVanished = errors.New("the Lease was deleted")

// renew keeps this replica's Lease until the context ends.
func (s *Shards) renew(ctx context.Context) error {
	for {
		sent := time.Now()
		err := s.own.renew(ctx)
		wait := retryAfter
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // told to stop: that the call ends too is part of it
		case errors.Is(err, ErrReplaced):
			s.fence()
			return err
		case errors.Is(err, errVanished):
			s.fence()
			wait = 0
		case err != nil:
			s.log.Warn("Cannot renew the Lease", "error", err)
		default:
			if _, ok := s.validity(); !ok {
				s.view.startAgain()
			}
			s.renewed(sent)
			wait = renewEvery - time.Since(sent)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// ownLease is the Lease of this replica. Only one goroutine at a time uses it.
type ownLease struct {
	name   string
	client typedcoordinationv1.LeaseInterface
	// process tells this process from an earlier one in the same pod.
	process string
	// known is the last version; nil while there is none, or it was changed by somebody.
	known *coordinationv1.Lease
	// isClaimed is set once the Lease has been this process's.
	isClaimed bool
}

// renew renews the Lease once. In a Lease that somebody has deleted it does not believe at once; the next call makes it anew.
func (o *ownLease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if o.known == nil {
		return o.claim(ctx)
	}
	err := o.update(ctx, o.known)
	switch {
	case apierrors.IsConflict(err):
		o.known = nil
		return o.claim(ctx)
	case apierrors.IsNotFound(err):
		o.known = nil
		return errVanished
	}
	return err
}

// claim makes the Lease, or takes over that of an earlier process of this name.
func (o *ownLease) claim(ctx context.Context) error {
	created, err := o.client.Create(ctx, o.renewed(&coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: o.name, Labels: map[string]string{labelRole: roleMember}},
	}), metav1.CreateOptions{})
	if err == nil {
		o.known, o.isClaimed = created, true
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create Lease %q: %w", o.name, err)
	}
	existing, err := o.client.Get(ctx, o.name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get Lease %q: %w", o.name, err)
	}
	if o.isClaimed && (existing.Spec.HolderIdentity == nil || *existing.Spec.HolderIdentity != o.process) {
		return ErrReplaced
	}
	return o.update(ctx, existing)
}

func (o *ownLease) update(ctx context.Context, lease *coordinationv1.Lease) error {
	updated, err := o.client.Update(ctx, o.renewed(lease), metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("update Lease %q: %w", o.name, err)
	}
	o.known, o.isClaimed = updated, true
	return nil
}

// renewed is a Lease with this process as its holder from now on. Its times are for people: replicas go by their own clocks.
func (o *ownLease) renewed(lease *coordinationv1.Lease) *coordinationv1.Lease {
	lease = lease.DeepCopy()
	now := metav1.NowMicro()
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != o.process {
		lease.Spec.AcquireTime = &now
	}
	seconds := int32(expireAfter / time.Second)
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds, lease.Spec.RenewTime = &o.process, &seconds, &now
	return lease
}

// delete removes the Lease, if it is still this process's.
func (o *ownLease) delete(ctx context.Context) error {
	if o.known == nil {
		return nil
	}
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &o.known.UID}}
	if err := o.client.Delete(ctx, o.name, options); err != nil && !isOutdated(err) {
		return fmt.Errorf("delete Lease %q: %w", o.name, err)
	}
	return nil
}
