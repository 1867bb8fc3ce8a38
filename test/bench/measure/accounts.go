package measure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
	"github.com/matryoshka-dev/matryoshka/test/bench/machine"
	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

var accountRows = []string{
	report.SpacesFew, report.SpacesMany, report.SpacesRate, report.AccountAgentMemory, report.AccountAgentCPU,
}

const (
	// spacesEach is how many spaces an account has.
	spacesEach = 4
	// accountClients is how many clients create at the same time.
	accountClients = 4
	// spaceRate is how many spaces are created in a second: less than the host takes, so that what is measured is the agent and
	// not a queue. With 2,000 namespaces a host on two cores takes some eight.
	spaceRate = 5
)

// accountStage is what was seen with so many accounts.
type accountStage struct {
	accounts int
	lags     []float64
	took     time.Duration
	agent    machine.Use
}

// accounts makes a quarter, half and all of the accounts with their spaces, and looks at how long spaces take and what the
// agent needs: if either grows faster than what there is, it shows.
func accounts(ctx context.Context, b *Bench) (err error) {
	total := b.Options.Accounts
	agent, err := b.agent(ctx)
	if err != nil {
		return err
	}
	empty, err := machine.Observe(ctx, b.Options.Window, []machine.Process{agent})
	if err != nil {
		return err
	}
	stages := []accountStage{{agent: empty[0]}}
	if !b.Host.IsOurs() { // one of our own goes as a whole, which is quicker than two thousand namespaces
		defer func() { err = errors.Join(err, b.removeAccounts(total)) }()
	}
	for _, count := range []int{total / 4, total / 2, total} {
		stage, err := b.accountStage(ctx, agent, stages[len(stages)-1].accounts, count)
		if err != nil {
			return err
		}
		b.Log("accounts: %d with %d spaces: median %.0f ms, agent %.0f MiB and %.1f millicores", count, count*spacesEach,
			report.Summarise(stage.lags).Median, stage.agent.Private, stage.agent.Millicores)
		stages = append(stages, stage)
	}
	b.recordAccounts(stages)
	return nil
}

func (b *Bench) accountStage(ctx context.Context, agent machine.Process, from, to int) (accountStage, error) {
	stage := accountStage{accounts: to}
	created, ready := lab.NewLedger("the call"), lab.NewLedger("the ready space")
	watching, watched := lab.NewWatching(ctx)
	defer watching.Stop()
	err := watching.Add(watched, b.Host.Spaces(), func(what watch.EventType, object runtime.Object, at time.Time) {
		space, ok := object.(*tenancyv1alpha1.Space)
		if ok && what != watch.Deleted && apimeta.IsStatusConditionTrue(space.Status.Conditions, tenancyv1alpha1.ConditionReady) {
			ready.Mark(space.Name, at)
		}
	})
	if err != nil {
		return stage, err
	}
	if err := b.createAccounts(ctx, from, to); err != nil {
		return stage, err
	}
	begin := time.Now()
	if err := b.createSpaces(ctx, from, to, created); err != nil {
		return stage, err
	}
	// Those of earlier stages are ready and seen as well.
	if err := ready.WaitForCount(ctx, to*spacesEach); err != nil {
		return stage, err
	}
	stage.took = time.Since(begin)
	stage.lags = millisecondsOf(ready.Since(created))
	if err := machine.Pause(ctx, b.Options.Settle); err != nil {
		return stage, err
	}
	uses, err := machine.Observe(ctx, b.Options.Window, []machine.Process{agent})
	if err != nil {
		return stage, err
	}
	stage.agent = uses[0]
	return stage, nil
}

func accountName(index int) string { return fmt.Sprintf("bench-%d", index) }

func (b *Bench) createAccounts(ctx context.Context, from, to int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(accountClients)
	for index := from; index < to; index++ {
		group.Go(func() error {
			account := &tenancyv1alpha1.Account{ObjectMeta: metav1.ObjectMeta{Name: accountName(index)}}
			account.Spec.Subjects = []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: accountName(index)}}
			account.Spec.Spaces.Limit = new(int32(spacesEach))
			if err := b.Host.Objects.Create(ctx, account); err != nil {
				return fmt.Errorf("create account %q: %w", account.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// createSpaces creates one space after the other, each in the next account.
func (b *Bench) createSpaces(ctx context.Context, from, to int, created *lab.Ledger) error {
	group, ctx := errgroup.WithContext(ctx)
	err := paced(ctx, (to-from)*spacesEach, spaceRate, func(number int) {
		account := accountName(from + number%(to-from))
		name := fmt.Sprintf("%s-%d", account, number/(to-from))
		group.Go(func() error {
			created.Mark(name, time.Now())
			space := &tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: name}}
			space.Spec.Account = account
			if err := b.Host.Objects.Create(ctx, space); err != nil {
				return fmt.Errorf("create space %q: %w", name, err)
			}
			return nil
		})
	})
	return errors.Join(err, group.Wait())
}

func (b *Bench) recordAccounts(stages []accountStage) {
	first, last, empty := stages[1], stages[len(stages)-1], stages[0]
	growth := ""
	for _, stage := range stages[1:] {
		more := stage.agent.Private - empty.agent.Private
		growth += fmt.Sprintf("%d accounts: %.1f MiB more than none, %.3f each; ", stage.accounts, more, more/float64(stage.accounts))
	}
	record := func(row, note string, values ...float64) {
		b.record(report.Figure{Row: row, Summary: report.Summarise(values), Store: "host sqlite", Note: note})
	}
	size := func(stage accountStage) string {
		return fmt.Sprintf("up to %d accounts with %d spaces each, %d created per second", stage.accounts, spacesEach, spaceRate)
	}
	record(report.SpacesFew, size(first), first.lags...)
	record(report.SpacesMany, size(last), last.lags...)
	record(report.SpacesRate, size(last), float64(len(last.lags))/last.took.Seconds())
	record(report.AccountAgentMemory, growth, (last.agent.Private-empty.agent.Private)/float64(last.accounts))
	record(report.AccountAgentCPU, size(last), last.agent.Millicores-empty.agent.Millicores)
}

// removeAccounts deletes the accounts, which take their spaces with them. It takes no context: what a step has made goes also when its
// time is over.
func (b *Bench) removeAccounts(total int) error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout+time.Duration(total*spacesEach)*time.Second)
	defer cancel()
	for index := range total {
		account := &tenancyv1alpha1.Account{ObjectMeta: metav1.ObjectMeta{Name: accountName(index)}}
		if err := client.IgnoreNotFound(b.Host.Objects.Delete(ctx, account)); err != nil {
			return fmt.Errorf("delete account %q: %w", account.Name, err)
		}
	}
	return lab.AwaitNone(ctx, "spaces", b.Host.Spaces())
}
