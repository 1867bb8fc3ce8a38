package shards

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

const (
	// renewEvery is how often a replica renews its Lease, retryAfter when it tries again after it could not.
	renewEvery = 2 * time.Second
	retryAfter = 500 * time.Millisecond
	// fenceAfter is how long after the last renewal a replica stops serving; others take its shards after expireAfter. What
	// lies between is for work to end, and for clocks that go differently fast.
	fenceAfter  = 6 * time.Second
	expireAfter = 8 * time.Second
	// callTimeout bounds a call; two of them fit between the last renewal and the end, if the first is refused.
	callTimeout = 3 * time.Second
	// endTakes is how long a replica that ends waits for the end of its work, to hand its shards over.
	endTakes = 10 * time.Second
)

// Options of a replica. All fields are required unless they say otherwise.
type Options struct {
	// Client is that of the Leases in the agent's namespace.
	Client typedcoordinationv1.LeaseInterface
	// Name is the replica's, and its Lease's. While a process runs no other may have its name; after it has ended the next
	// one of this name goes on with its shards.
	Name string
	// Logger; nil means slog.Default().
	Logger *slog.Logger
	// Registerer of the metrics; nil means none are kept.
	Registerer prometheus.Registerer
}

// Shards is this replica's part of all shards. Make one with New and run it once.
type Shards struct {
	*holdings

	name   string
	client typedcoordinationv1.LeaseInterface
	log    *slog.Logger
	view   *view
	own    ownLease
}

// New makes a replica that holds nothing before it runs.
func New(options Options) (*Shards, error) {
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	log := options.Logger.With("replica", options.Name)
	s := &Shards{
		name: options.Name, client: options.Client, log: log, view: newView(log),
		own: ownLease{name: options.Name, client: options.Client, process: string(uuid.NewUUID())},
	}
	s.holdings = newHoldings(func(lost int) {
		log.Warn("Lease is not renewed; stopped serving until it is", "shards", lost)
	})
	if options.Registerer == nil {
		return s, nil
	}
	held := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "matryoshka_shards_held", Help: fmt.Sprintf("Shards that this replica serves, of %d.", Count),
	}, func() float64 { return float64(s.count()) })
	if err := options.Registerer.Register(held); err != nil {
		return nil, fmt.Errorf("register the metric of shards: %w", err)
	}
	return s, nil
}

// Run takes part until the context ends, and then hands everything over. An error means that another process has this
// replica's name.
func (s *Shards) Run(ctx context.Context) error {
	working, stop := context.WithCancel(ctx)
	defer stop()
	var group sync.WaitGroup
	failed := make(chan error, 1)
	group.Go(func() { s.watch(working) })
	group.Go(func() { failed <- s.renew(working) })
	err := s.follow(working, failed)
	stop()
	s.end()
	group.Wait()
	if err == nil {
		s.handOver(context.WithoutCancel(ctx))
	}
	return err
}

// follow acts on whatever changes.
func (s *Shards) follow(ctx context.Context, failed <-chan error) error {
	for {
		wait := s.view.untilExpiry()
		if err := s.balance(ctx); err != nil {
			s.log.Warn("Cannot write the table of shards", "error", err)
			wait = retryAfter
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-s.changed:
		case <-s.view.changed:
		case <-time.After(wait):
		}
	}
}

// balance brings this replica a step closer to its share.
func (s *Shards) balance(ctx context.Context) error {
	session, ok := s.validity()
	if !ok {
		return nil
	}
	seen, ok := s.view.now()
	if !ok {
		return nil
	}
	s.stillOwn(seen.table.holders[s.name])
	serving, leaving, left := s.state()
	next := makePlan(s.name, seen, serving, leaving, left)
	if len(next.foreign) > 0 {
		s.log.Warn("Somebody else has changed the table of shards; stopped serving", "shards", len(next.foreign))
		s.forget(next.foreign)
		return nil // looked at again with the next change, which is the next renewal at the latest
	}
	s.let(next.let)
	s.buryDead(ctx, seen)
	if !next.isChange {
		return nil
	}
	if len(next.dead) > 0 {
		// Nobody is taken for dead by a watch that may be behind.
		if _, err := s.refresh(ctx); err != nil {
			return err
		}
		if seen, _ = s.view.now(); !isStillDead(seen, next.dead) {
			return nil
		}
		s.stillOwn(seen.table.holders[s.name])
		if next = makePlan(s.name, seen, serving, leaving, left); len(next.foreign) > 0 {
			return nil
		}
	}
	return s.write(ctx, session, next)
}

func isStillDead(seen glance, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		_, isDead := seen.dead[name]
		return !isDead
	})
}

// write writes what the plan says and then serves it.
func (s *Shards) write(ctx context.Context, session int, next plan) error {
	written, err := s.writeTable(ctx, next.next)
	if err != nil {
		// Somebody was quicker; or it was written all the same, and only the answer is missing.
		_, refreshErr := s.refresh(ctx)
		if isOutdated(err) {
			err = nil
		}
		return errors.Join(err, refreshErr)
	}
	s.view.wrote(written)
	s.forget(next.given)
	taken := s.take(session, next.mine)
	for _, name := range next.dead {
		s.log.Info("Took over from a replica that is gone", "from", name)
	}
	s.log.Info("Shards changed hands", "gained", len(taken), "given", len(next.given), "held", s.count(), "replicas", slices.Sorted(maps.Keys(next.next.holders)))
	return nil
}

func (s *Shards) writeTable(ctx context.Context, next table) (*coordinationv1.Lease, error) {
	lease, err := next.lease()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if next.version == "" {
		return s.client.Create(ctx, lease, metav1.CreateOptions{})
	}
	return s.client.Update(ctx, lease, metav1.UpdateOptions{})
}

func isOutdated(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
}

// refresh reads what there is from the API server itself, and returns the version of it all.
func (s *Shards) refresh(ctx context.Context) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	before := s.view.tableNow()
	list, err := s.client.List(ctx, metav1.ListOptions{LabelSelector: labelRole})
	if err != nil {
		return "", fmt.Errorf("list the Leases of replicas: %w", err)
	}
	s.view.seeAll(list.Items, before)
	return list.ResourceVersion, nil
}

// buryDead deletes the Leases of replicas that are gone and hold nothing. One that has renewed its Lease meanwhile keeps it.
func (s *Shards) buryDead(ctx context.Context, seen glance) {
	for name, version := range seen.dead {
		if name == s.name || version == "" || len(seen.table.holders[name]) > 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		err := s.client.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &version}})
		cancel()
		if err != nil && !isOutdated(err) {
			s.log.Warn("Cannot delete the Lease of a replica that is gone", "lease", name, "error", err)
		}
	}
}

// handOver gives everything up when all work has ended, so that others need not wait for this replica's Lease to expire.
func (s *Shards) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, endTakes)
	defer cancel()
	for !s.isQuiet() {
		select {
		case <-s.changed:
		case <-ctx.Done():
			s.log.Warn("Work has not ended in time; others take over when the Lease has expired")
			return
		}
	}
	if err := s.giveUp(ctx); err != nil {
		s.log.Warn("Cannot hand over; others take over when the Lease has expired", "error", err)
		return
	}
	s.log.Info("Handed all shards over")
}

func (s *Shards) giveUp(ctx context.Context) error {
	for {
		if _, err := s.refresh(ctx); err != nil {
			return err
		}
		seen, _ := s.view.now()
		if len(seen.table.holders[s.name]) == 0 {
			return s.own.delete(ctx)
		}
		if _, err := s.writeTable(ctx, seen.table.with(s.name, nil)); err != nil && !isOutdated(err) {
			return fmt.Errorf("write the table of shards: %w", err)
		}
	}
}
