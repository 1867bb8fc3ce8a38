// Package install puts the product's chart onto a host cluster through the Helm SDK, with server-side apply, and waits
// until what it installed is available.
//
// `matry up` and `matry install` both use it, so the embedded host is no second way of installing. Its invariants: it can
// be run again at any time, after it was killed too; what an operator has set before stays set; CRDs are brought up to date,
// which Helm itself never does; what Helm would refuse is refused before anything is changed.
package install

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
)

// Where the product is installed. The agent's address is made of these names.
const (
	Namespace   = "matryoshka-system"
	ReleaseName = "matryoshka"
)

// history is how many revisions Helm keeps.
const history = 5

// Options of an installation.
type Options struct {
	// Chart to install.
	Chart *chart.Chart
	// Values that override the chart's and those of an earlier installation.
	Values map[string]any
	// TakeOver ends an installation of somebody else that has not ended, instead of failing.
	TakeOver bool
	// Timeout of Helm's own work; the caller's context bounds the whole.
	Timeout time.Duration
}

// Run installs or upgrades, and waits until everything is available. Detail is told what is done and waited for.
func Run(ctx context.Context, config *rest.Config, options Options, detail func(string)) error {
	hostClient, err := hostcluster.NewClient(config)
	if err != nil {
		return err
	}
	helm, err := NewHelm(config)
	if err != nil {
		return err
	}
	exists, err := prepareUpgrade(helm, options.TakeOver)
	if err != nil {
		return err
	}
	apply := installFirst
	if exists {
		apply = upgrade
	}
	// First for show: an old Kubernetes, a bad value or an object of somebody else must not leave new CRDs behind.
	detail("check")
	if err := apply(ctx, helm, options, action.DryRunServer); err != nil {
		return err
	}
	detail("custom resource definitions")
	if err := applyCRDs(ctx, hostClient, options.Chart); err != nil {
		return err
	}
	if err := awaitDiscovered(ctx, config, options.Chart); err != nil {
		return err
	}
	// Helm remembers which kinds there were before.
	if helm, err = NewHelm(config); err != nil {
		return err
	}
	detail("chart")
	if err := apply(ctx, helm, options, action.DryRunNone); err != nil {
		return err
	}
	return waitAvailable(ctx, hostClient, detail)
}

// NewHelm is Helm on the host, in the namespace of the product.
func NewHelm(config *rest.Config) (*action.Configuration, error) {
	getter, err := hostcluster.NewGetter(config, Namespace)
	if err != nil {
		return nil, err
	}
	// Helm logs what its errors say as well.
	helm := action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	if err := helm.Init(getter, Namespace, "secrets"); err != nil {
		return nil, fmt.Errorf("prepare Helm: %w", err)
	}
	return helm, nil
}

func installFirst(ctx context.Context, helm *action.Configuration, options Options, dryRun action.DryRunStrategy) error {
	install := action.NewInstall(helm)
	install.DryRunStrategy = dryRun
	install.ReleaseName, install.Namespace, install.CreateNamespace = ReleaseName, Namespace, true
	// An uninstalled release that kept its history has the name still.
	install.Replace = true
	install.ServerSideApply, install.SkipCRDs = true, true
	// The server validates what is applied; Helm's own check would first fetch all its schemas.
	install.DisableOpenAPIValidation = true
	install.WaitStrategy, install.Timeout = kube.HookOnlyStrategy, options.Timeout
	if _, err := install.RunWithContext(ctx, options.Chart, options.Values); err != nil {
		return fmt.Errorf("install chart %q as release %q: %w", options.Chart.Name(), Namespace+"/"+ReleaseName, err)
	}
	return nil
}

func upgrade(ctx context.Context, helm *action.Configuration, options Options, dryRun action.DryRunStrategy) error {
	upgrade := action.NewUpgrade(helm)
	upgrade.DryRunStrategy = dryRun
	upgrade.Namespace, upgrade.MaxHistory = Namespace, history
	upgrade.ResetThenReuseValues = true
	upgrade.ServerSideApply, upgrade.ForceConflicts, upgrade.SkipCRDs = "true", true, true
	upgrade.DisableOpenAPIValidation = true
	upgrade.WaitStrategy, upgrade.Timeout = kube.HookOnlyStrategy, options.Timeout
	if _, err := upgrade.RunWithContext(ctx, ReleaseName, options.Chart, options.Values); err != nil {
		return fmt.Errorf("upgrade release %q with chart %q: %w", Namespace+"/"+ReleaseName, options.Chart.Name(), err)
	}
	return nil
}

// prepareUpgrade tells whether there is a release to upgrade. Helm refuses to touch one whose installation has not ended,
// for ever when that was killed: with takeOver it is marked as failed.
func prepareUpgrade(helm *action.Configuration, takeOver bool) (bool, error) {
	found, err := helm.Releases.Last(ReleaseName)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for release %q: %w", Namespace+"/"+ReleaseName, err)
	}
	last, isKnown := found.(*release.Release)
	if !isKnown {
		return false, fmt.Errorf("release %q was stored by another version of Helm (%T)", Namespace+"/"+ReleaseName, found)
	}
	if last.Info.Status == common.StatusUninstalled {
		return false, nil
	}
	if !last.Info.Status.IsPending() {
		return true, nil
	}
	if !takeOver {
		return false, exit.WithNext(
			fmt.Errorf("release %q is being installed by somebody else since %s", Namespace+"/"+ReleaseName, last.Info.LastDeployed.Format(time.RFC3339)),
			"wait until that has ended; when you know that it was killed, use --take-over")
	}
	last.SetStatus(common.StatusFailed, "ended before it was done; taken over by a later installation")
	if err := helm.Releases.Update(last); err != nil {
		return false, fmt.Errorf("take release %q over: %w", Namespace+"/"+ReleaseName, err)
	}
	return true, nil
}
