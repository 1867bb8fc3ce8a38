package virtualcluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/slot"
)

// placePeriod is how often a virtual cluster that has no place looks for one; that one is given back is an event besides.
const placePeriod = 30 * time.Second

// Places are what the accounts leave for virtual clusters: each has one place among all of its account, and while it runs another
// one among those that run. Virtual clusters outside of spaces need none.
type Places struct {
	host           client.Client
	cached         client.Reader
	count, running *slot.Slots
}

// NewPlaces makes the places of all accounts. host reads and writes the API server itself; cached is that of a manager which has been
// through package tenancy. The slots are in the agent's namespace.
func NewPlaces(host client.Client, cached client.Reader, systemNamespace string) *Places {
	return &Places{
		host: host, cached: cached,
		count:   slot.New(host, cached, systemNamespace, slot.VirtualClusters),
		running: slot.New(host, cached, systemNamespace, slot.RunningVirtualClusters),
	}
}

// noPlaceError says that the account leaves no room. It passes by itself.
type noPlaceError struct{ message string }

func (e *noPlaceError) Error() string { return e.message }

func holderOf(vc *clusterv1alpha1.VirtualCluster) slot.Holder {
	return slot.Holder{UID: vc.UID, Namespace: vc.Namespace, Name: vc.Name}
}

// begin claims the places of a virtual cluster that is about to be made: nothing of it may be on the host before it has both. While
// it waits to run it has its place among all: it is one of them.
func (p *Places) begin(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) error {
	account, err := p.account(ctx, vc)
	if err != nil || account == nil {
		return err
	}
	if account.Spec.Suspended {
		return &noPlaceError{fmt.Sprintf("The account %q is suspended; ask whoever runs the host cluster", account.Name)}
	}
	if err := p.claim(ctx, p.count, account, account.Spec.VirtualClusters.Limit, vc, "virtual clusters"); err != nil {
		return err
	}
	if vc.Spec.Sleep != nil && vc.Spec.Sleep.Force == tenancyv1alpha1.ForceAsleep {
		return nil // it is made, and sleeps from the beginning
	}
	return p.claim(ctx, p.running, account, account.Spec.VirtualClusters.RunningLimit, vc, "running virtual clusters")
}

// run claims the place of one that runs or is about to.
func (p *Places) run(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) error {
	account, err := p.account(ctx, vc)
	if err != nil || account == nil {
		return err
	}
	// It lost its place only by hand, or got its account when it was there already. Nobody is thrown out.
	if err := p.claim(ctx, p.count, account, account.Spec.VirtualClusters.Limit, vc, "virtual clusters"); err != nil && !isNoPlace(err) {
		return err
	}
	return p.claim(ctx, p.running, account, account.Spec.VirtualClusters.RunningLimit, vc, "running virtual clusters")
}

func (p *Places) claim(ctx context.Context, slots *slot.Slots, account *tenancyv1alpha1.Account, limit *int32, vc *clusterv1alpha1.VirtualCluster, what string) error {
	isHeld, err := slots.Held(ctx, account.Name, vc.UID)
	if err != nil || isHeld {
		return err
	}
	standing, err := slots.Claim(ctx, account.Name, limit, holderOf(vc))
	if slot.IsBusy(err) {
		return &retrySoonError{after: 100 * time.Millisecond, err: err}
	}
	if err != nil || standing.IsHeld {
		return err
	}
	return &noPlaceError{fmt.Sprintf("The account %q has %d %s of the %d that it may have. This one goes on by itself when there is room: delete another one%s, or ask whoever runs the host cluster for more",
		account.Name, standing.Used, what, *limit, map[bool]string{true: " or let it sleep"}[slots == p.running])}
}

// rest gives the place among the running ones back, if there is one to give.
func (p *Places) rest(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) error {
	account, err := p.accountName(ctx, vc)
	if err != nil || account == "" {
		return err
	}
	held, err := p.running.Cached(ctx, account)
	if err != nil {
		return err
	}
	for _, one := range held {
		if one.Holder.UID == vc.UID {
			return p.running.Release(ctx, account, vc.UID)
		}
	}
	return nil
}

// end gives all places of a virtual cluster back of which nothing is left.
func (p *Places) end(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) error {
	account, err := p.accountName(ctx, vc)
	if err != nil || account == "" {
		return err
	}
	for _, slots := range []*slot.Slots{p.running, p.count} {
		if err := slots.Release(ctx, account, vc.UID); err != nil {
			return err
		}
	}
	return nil
}

// Suspended tells whether the account of a virtual cluster is suspended; it is for Options.
func (p *Places) Suspended(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (bool, error) {
	account, err := p.account(ctx, vc)
	return account != nil && account.Spec.Suspended, err
}

// account is nil for a virtual cluster outside of spaces, and for one whose account is gone: what there is of it stays.
func (p *Places) account(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (*tenancyv1alpha1.Account, error) {
	name, err := p.accountName(ctx, vc)
	if err != nil || name == "" {
		return nil, err
	}
	var account tenancyv1alpha1.Account
	for _, reader := range []client.Reader{p.cached, p.host} {
		err = reader.Get(ctx, client.ObjectKey{Name: name}, &account)
		if err == nil {
			return &account, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("get Account %q: %w", name, err)
		}
	}
	if vc.Status.ID == "" {
		return nil, &noPlaceError{fmt.Sprintf("There is no account %q, which this namespace belongs to; ask whoever runs the host cluster", name)}
	}
	return nil, nil
}

// accountName is what the control namespace says, which keeps it; before there is one, and after it, what the space says.
func (p *Places) accountName(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (string, error) {
	var namespace corev1.Namespace
	if vc.Status.ID != "" {
		err := p.cached.Get(ctx, client.ObjectKey{Name: mapping.ControlNamespace(vc.Status.ID)}, &namespace)
		if err == nil && namespace.Labels[mapping.LabelUID] == string(vc.UID) && rules.AccountOf(&namespace) != "" {
			return rules.AccountOf(&namespace), nil
		}
		if client.IgnoreNotFound(err) != nil {
			return "", fmt.Errorf("get Namespace %q: %w", mapping.ControlNamespace(vc.Status.ID), err)
		}
	}
	reader := client.Reader(p.host)
	if vc.Status.ID != "" && vc.DeletionTimestamp.IsZero() {
		reader = p.cached // it has been through here before; a namespace that is not in the cache is no space
	}
	err := reader.Get(ctx, client.ObjectKey{Name: vc.Namespace}, &namespace)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("get Namespace %q: %w", vc.Namespace, err)
	}
	if namespace.Labels[mapping.LabelKind] != mapping.KindSpace {
		return "", nil
	}
	return rules.AccountOf(&namespace), nil
}
