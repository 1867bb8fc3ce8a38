// Package slot makes count limits exact: whatever counts against a limit holds a slot, an object that is claimed by creating
// it, so that of two who want the last one the API server refuses one.
//
// It is for limits of accounts, on spaces and on virtual clusters, and knows nothing of either. Its invariants:
//
//   - While a limit stays as it is, claims never bring the number of slots above it, whoever claims, however old what he
//     has seen, and whichever replica dies in between.
//   - Nobody loses a slot by a limit that is lowered; nobody gets one while there are as many as the limit.
//   - A slot goes with its holder: Release when that is gone, Collect for holders that vanished without it.
package slot

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// NamePrefix begins the names of all slots. The policy that confines the agent repeats it.
const NamePrefix = "matryoshka-slot-"

const (
	// claimRounds is how often a claim looks again after others were quicker.
	claimRounds = 5
	// claimTries is how many of the free slots are tried before it looks again.
	claimTries = 16
)

// errBusy is when others were quicker all the time; the next attempt is likely to have more luck.
var errBusy = errors.New("others were quicker with every free slot; it is tried again")

// Kind is what is counted. It is a part of names and the value of a label.
type Kind string

// The kinds of slots.
const (
	Spaces                 Kind = "space"
	VirtualClusters        Kind = "virtualcluster"
	RunningVirtualClusters Kind = "running"
)

// Holder is the object that a slot belongs to.
type Holder struct {
	UID types.UID
	// Namespace is empty for what has none.
	Namespace, Name string
}

// Slot is one that is held.
type Slot struct {
	Holder Holder
	// Index is its number, from 0.
	Index int

	lease *coordinationv1.Lease
}

// Standing is the outcome of a claim.
type Standing struct {
	// IsHeld tells whether the holder has its slot.
	IsHeld bool
	// Used is how many slots of the account are held, as far as the claim has looked.
	Used int
}

// Slots are those of one kind.
type Slots struct {
	host      client.Client
	cached    client.Reader
	namespace string
	kind      Kind
}

// New makes the slots of a kind. host reads and writes the API server itself; cached, which may be nil if Held and Cached are
// not used, reads what is watched. The slots are Leases in the namespace.
func New(host client.Client, cached client.Reader, namespace string, kind Kind) *Slots {
	return &Slots{host: host, cached: cached, namespace: namespace, kind: kind}
}

// Claim gives the holder a slot if it has none and the limit of its account leaves one; a nil limit always does. Of several
// slots that a holder has got by accident it keeps one.
func (s *Slots) Claim(ctx context.Context, account string, limit *int32, holder Holder) (Standing, error) {
	for range claimRounds {
		held, err := s.list(ctx, s.host, account)
		if err != nil {
			return Standing{}, err
		}
		own := slices.DeleteFunc(slices.Clone(held), func(slot Slot) bool { return slot.Holder.UID != holder.UID })
		if len(own) > 0 {
			if err := s.keepFirst(ctx, own); err != nil {
				return Standing{}, err
			}
			return Standing{IsHeld: true, Used: len(held) - len(own) + 1}, nil
		}
		free := claimable(indices(held), limit)
		if len(free) == 0 {
			return Standing{Used: len(held)}, nil
		}
		isHeld, err := s.tryOneOf(ctx, account, holder, free)
		if err != nil {
			return Standing{}, err
		}
		if isHeld {
			return Standing{IsHeld: true, Used: len(held) + 1}, nil
		}
	}
	return Standing{}, errBusy
}

// IsBusy tells whether a claim failed only because many others claim at the same time.
func IsBusy(err error) bool { return errors.Is(err, errBusy) }

// Release gives all slots of a holder back.
func (s *Slots) Release(ctx context.Context, account string, holder types.UID) error {
	held, err := s.list(ctx, s.host, account)
	if err != nil {
		return err
	}
	for _, slot := range held {
		if slot.Holder.UID != holder {
			continue
		}
		if err := s.delete(ctx, slot); err != nil {
			return err
		}
	}
	return nil
}

// Collect takes the slots back whose holder is gone for good, by what isGone says of it.
func (s *Slots) Collect(ctx context.Context, account string, isGone func(context.Context, Holder) (bool, error)) error {
	held, err := s.list(ctx, s.cached, account)
	if err != nil {
		return err
	}
	for _, slot := range held {
		gone, err := isGone(ctx, slot.Holder)
		if err != nil {
			return err
		}
		if !gone {
			continue
		}
		if err := s.delete(ctx, slot); err != nil {
			return err
		}
	}
	return nil
}

// Cached are the slots of an account that are held, as far as the watch has told.
func (s *Slots) Cached(ctx context.Context, account string) ([]Slot, error) {
	return s.list(ctx, s.cached, account)
}

// Live are the slots of an account that are held, as the API server itself has them.
func (s *Slots) Live(ctx context.Context, account string) ([]Slot, error) {
	return s.list(ctx, s.host, account)
}

// Held tells whether a holder has exactly one slot, as far as the watch has told.
func (s *Slots) Held(ctx context.Context, account string, holder types.UID) (bool, error) {
	held, err := s.list(ctx, s.cached, account)
	if err != nil {
		return false, err
	}
	count := 0
	for _, slot := range held {
		if slot.Holder.UID == holder {
			count++
		}
	}
	return count == 1, nil
}

func (s *Slots) list(ctx context.Context, reader client.Reader, account string) ([]Slot, error) {
	var leases coordinationv1.LeaseList
	selector := client.MatchingLabels{mapping.LabelSlot: string(s.kind), mapping.LabelAccount: account}
	if err := reader.List(ctx, &leases, client.InNamespace(s.namespace), selector); err != nil {
		return nil, fmt.Errorf("list the slots of account %q: %w", account, err)
	}
	held := make([]Slot, 0, len(leases.Items))
	for index := range leases.Items {
		if slot, ok := s.parse(&leases.Items[index], account); ok {
			held = append(held, slot)
		}
	}
	return held, nil
}

// parse reads a slot. What has the label but not the name is none.
func (s *Slots) parse(lease *coordinationv1.Lease, account string) (Slot, bool) {
	number, ok := strings.CutPrefix(lease.Name, s.name(account, ""))
	if !ok {
		return Slot{}, false
	}
	index, err := strconv.Atoi(number)
	if err != nil || index < 0 || strconv.Itoa(index) != number {
		return Slot{}, false
	}
	slot := Slot{Index: index, lease: lease}
	slot.Holder.Namespace, slot.Holder.Name, _ = strings.Cut(lease.Annotations[mapping.AnnotationHolder], "/")
	if lease.Spec.HolderIdentity != nil {
		slot.Holder.UID = types.UID(*lease.Spec.HolderIdentity)
	}
	return slot, true
}

// name is unique for kind, account and number: kinds have no hyphen, and a number is what follows the last one.
func (s *Slots) name(account, number string) string {
	return fmt.Sprintf("%s%s-%s-%s", NamePrefix, s.kind, account, number)
}

func (s *Slots) tryOneOf(ctx context.Context, account string, holder Holder, free []int) (bool, error) {
	for _, index := range free {
		err := s.host.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{
				Namespace:   s.namespace,
				Name:        s.name(account, strconv.Itoa(index)),
				Labels:      map[string]string{mapping.LabelSlot: string(s.kind), mapping.LabelAccount: account},
				Annotations: map[string]string{mapping.AnnotationHolder: holder.Namespace + "/" + holder.Name},
			},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: new(string(holder.UID))},
		})
		if apierrors.IsAlreadyExists(err) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("claim a slot of account %q: %w", account, err)
		}
		return true, nil
	}
	return false, nil
}

// keepFirst deletes what a holder has too much, when two of its claims were under way at once. All who do so keep the same.
func (s *Slots) keepFirst(ctx context.Context, own []Slot) error {
	slices.SortFunc(own, func(a, b Slot) int { return a.Index - b.Index })
	for _, slot := range own[1:] {
		if err := s.delete(ctx, slot); err != nil {
			return err
		}
	}
	return nil
}

// delete gives one slot back, and never one that another holder has got under the same name.
func (s *Slots) delete(ctx context.Context, slot Slot) error {
	uid := slot.lease.UID
	err := s.host.Delete(ctx, slot.lease, client.Preconditions{UID: &uid})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("give the slot %q back: %w", slot.lease.Name, err)
	}
	return nil
}

func indices(held []Slot) []int {
	all := make([]int, 0, len(held))
	for _, slot := range held {
		all = append(all, slot.Index)
	}
	return all
}

// claimable picks up to claimTries free numbers that may be claimed, in a random order, so that not all who claim at once try
// the same.
func claimable(held []int, limit *int32) []int {
	below := len(held) + claimTries
	if limit != nil {
		below = min(below, bound(held, int(*limit)))
	}
	taken := make(map[int]bool, len(held))
	for _, index := range held {
		taken[index] = true
	}
	var free []int
	for index := range below {
		if !taken[index] {
			free = append(free, index)
		}
	}
	rand.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] }) //nolint:gosec // to guess it gains nothing
	return free[:min(len(free), claimTries)]
}
