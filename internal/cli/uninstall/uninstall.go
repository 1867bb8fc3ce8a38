// Package uninstall takes the product off a host cluster: everything that it has made, its policies and webhooks, its definitions
// of resources and its namespace.
//
// It is the reverse of package install. What people have made with the product goes first and while the agent still runs, which
// knows how to end it; so that nothing is left that only the agent could have ended. Invariants: without leave nothing is deleted
// that holds somebody's work; it can be run again after it failed at any point; what is not the product's is left alone.
package uninstall

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/storage/driver"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/install"
)

// Options of an uninstallation.
type Options struct {
	// DeleteData allows the deletion of virtual clusters and spaces with all that they hold.
	DeleteData bool
	// Force ends what is left without the agent, when that does not answer.
	Force bool
	// Timeout bounds Helm's own work; the caller's context bounds the whole.
	Timeout time.Duration
}

// uninstaller is one run.
type uninstaller struct {
	options Options
	host    dynamic.Interface
	detail  func(string)
	// isAgentGone tells that a forced run has waited for the agent in vain.
	isAgentGone bool
}

// Run uninstalls and waits until nothing is left. Detail is told what is done and waited for.
func Run(ctx context.Context, config *rest.Config, options Options, detail func(string)) error {
	config = rest.CopyConfig(config)
	config.QPS = -1 // a person waits
	host, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	helm, err := install.NewHelm(config)
	if err != nil {
		return err
	}
	u := &uninstaller{options: options, host: host, detail: detail}
	kinds, err := u.kinds(ctx)
	if err != nil {
		return err
	}
	if err := u.endWork(ctx, kinds); err != nil {
		return err
	}
	roles, err := u.roles(ctx)
	if err != nil {
		return err
	}
	detail("chart")
	if err := removeRelease(helm, options); err != nil {
		return err
	}
	if options.Force {
		if err := u.endByHand(ctx, kinds); err != nil {
			return err
		}
	}
	return u.removeRest(ctx, kinds, roles)
}

// endWork deletes what was made with the product, work first, as the agent ends it.
func (u *uninstaller) endWork(ctx context.Context, kinds []kind) error {
	work, settings := split(kinds)
	found, err := u.list(ctx, work)
	if err != nil {
		return err
	}
	if len(found) > 0 && !u.options.DeleteData {
		return exit.WithNext(
			fmt.Errorf("there are %s; nothing was changed", summary(found)),
			"delete them first, or use --delete-data, which deletes them with everything that they hold, volumes too")
	}
	for _, step := range [][]kind{work, settings} {
		if err := u.deleteAll(ctx, step); err != nil {
			return err
		}
		if err := u.awaitNone(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

// patience is how long a forced run waits for the agent: it may be at work after all.
const patience = 20 * time.Second

func (u *uninstaller) awaitNone(ctx context.Context, kinds []kind) error {
	if u.isAgentGone {
		return nil
	}
	if u.options.Force {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	err := u.awaitGone(ctx, func(ctx context.Context) ([]object, error) { return u.list(ctx, kinds) })
	if errors.Is(err, context.DeadlineExceeded) {
		if u.options.Force {
			u.isAgentGone = true
			return nil
		}
		return exit.WithNext(err, "`kubectl describe` says what they wait for; if the agent is gone or broken, --force ends them without it")
	}
	return err
}

// awaitGone waits until a list is empty.
func (u *uninstaller) awaitGone(ctx context.Context, list func(context.Context) ([]object, error)) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var left []object // as last seen: the time may be over in the middle of a list
	for {
		now, err := list(ctx)
		if err == nil && len(now) == 0 {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil {
			left = now
			u.detail("waiting for the end of " + summary(left))
		}
		select {
		case <-ctx.Done():
			if len(left) == 0 {
				return ctx.Err()
			}
			return fmt.Errorf("wait for the end of %s: %w", summary(left), ctx.Err())
		case <-tick.C:
		}
	}
}

func removeRelease(helm *action.Configuration, options Options) error {
	uninstall := action.NewUninstall(helm)
	uninstall.WaitStrategy, uninstall.Timeout = kube.HookOnlyStrategy, options.Timeout
	_, err := uninstall.Run(install.ReleaseName)
	if err != nil && !errors.Is(err, driver.ErrReleaseNotFound) {
		return fmt.Errorf("uninstall release %q: %w", install.Namespace+"/"+install.ReleaseName, err)
	}
	return nil
}

// most is how many objects a message names.
const most = 5

// summary counts objects by kind and names the first.
func summary(found []object) string {
	byKind := map[string][]string{}
	var order []string
	for _, one := range found {
		if byKind[one.kind.name] == nil {
			order = append(order, one.kind.name)
		}
		byKind[one.kind.name] = append(byKind[one.kind.name], one.String())
	}
	var parts []string
	for _, name := range order {
		names := byKind[name]
		slices.Sort(names)
		shown := strings.Join(names[:min(most, len(names))], ", ")
		if len(names) > most {
			shown += ", …"
		}
		parts = append(parts, fmt.Sprintf("%d %s (%s)", len(names), name, shown))
	}
	return strings.Join(parts, " and ")
}
