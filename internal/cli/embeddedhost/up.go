package embeddedhost

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/install"
	"github.com/matryoshka-dev/matryoshka/internal/cli/progress"
	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/image"
	"github.com/matryoshka-dev/matryoshka/internal/version"
)

type upOptions struct {
	genericiooptions.IOStreams
	target  *hostcluster.Target
	report  *progress.Reporter
	host    control.Options
	egress  string
	binDir  string
	demo    bool
	timeout time.Duration
}

// NewUp returns `matry up`.
func NewUp(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	o := &upOptions{IOStreams: streams, target: target, report: progress.New(streams.ErrOut)}
	command := &cobra.Command{
		Use:   "up",
		Short: "Start the embedded host and install Matryoshka on it",
		Long: "Start a one-machine Kubernetes with a real node, import the product's images, install Matryoshka and wait until it\n" +
			"is available. What runs already is left as it is, so the command can be repeated, after a crash or a reboot too.",
		Example: `  # Start everything and show the demo
  sudo matry up --demo

  # Pods may reach what the machine reaches
  sudo matry up --egress nat

  # Two nodes, for what has to be tried on more than one
  sudo matry up --nodes 2

  # A second host beside the first one
  sudo matry up --data-dir /var/lib/matryoshka-2 --api-port 7443 --front-door-port 9443`,
		Args:              arguments.None,
		RunE:              func(command *cobra.Command, _ []string) error { return o.run(command) },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := command.Flags()
	flags.StringVar(&o.egress, "egress", string(control.EgressNone), "what pods reach outside of the host: none or nat")
	flags.IntVar(&o.host.APIPort, "api-port", control.DefaultAPIPort, "`port` on 127.0.0.1 of the API server")
	flags.IntVar(&o.host.FrontDoorPort, "front-door-port", control.DefaultFrontDoorPort, "`port` on 127.0.0.1 of the virtual clusters")
	flags.IntVar(&o.host.Nodes, "nodes", 1, "how many nodes it has: 1 or 2")
	flags.StringSliceVar(&o.host.PullFrom, "pull-from", nil, "private `addresses` or host names that image pulls may reach")
	flags.StringVar(&o.binDir, "bin-dir", "", "`folder` with matryd, the programs of the images and node/ (default where matry is)")
	flags.BoolVar(&o.demo, "demo", false, "create the virtual cluster demo/hello and show an app in it answering")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long the whole may take")
	_ = command.RegisterFlagCompletionFunc("egress", cobra.FixedCompletions([]string{string(control.EgressNone), string(control.EgressNAT)}, cobra.ShellCompDirectiveNoFileComp))
	return command
}

func (o *upOptions) run(command *cobra.Command) error {
	if o.target.Kubeconfig != "" || o.target.Context != "" {
		return exit.Usagef("%w; `matry install` installs on an existing cluster", errNotTarget)
	}
	if err := needRoot(command); err != nil {
		return err
	}
	if err := o.complete(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(command.Context(), o.timeout)
	defer cancel()
	begin := time.Now()
	// What cannot work is said before anything is made.
	if err := control.Check(ctx, o.host); err != nil {
		return fmt.Errorf("start the embedded host of %q: %w", o.host.DataDir, err)
	}
	unlock, err := lockUp(o.host.DataDir)
	if err != nil {
		return err
	}
	defer unlock()

	images, err := o.buildImages(ctx)
	if err != nil {
		return err
	}
	if err := o.startHost(ctx); err != nil {
		return err
	}
	if err := o.importImages(ctx, images); err != nil {
		return err
	}
	config, err := o.target.RESTConfig()
	if err != nil {
		return err
	}
	if err := o.install(ctx, config, images); err != nil {
		return err
	}
	if o.demo {
		if err := o.showDemo(ctx, config, images); err != nil {
			return err
		}
	}
	o.report.Note("the host is up after %.1f s", time.Since(begin).Seconds())
	if !o.demo {
		o.report.Note("next: `matry create virtualcluster hello -n demo --create-namespace`")
	}
	return nil
}

// complete fills in where things are and checks all options before anything is made.
func (o *upOptions) complete() error {
	if o.binDir == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		if self, err = filepath.EvalSymlinks(self); err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		o.binDir = filepath.Dir(self)
	}
	o.host.DataDir = o.target.EmbeddedDataDir()
	o.host.Egress = control.Egress(o.egress)
	o.host.ProgramsDir = filepath.Join(o.binDir, "node")
	o.host.Matryd = filepath.Join(o.binDir, "matryd")
	o.host.SandboxImage = image.Reference("pause", version.Version)
	o.host.Complete()
	if err := o.host.Validate(); err != nil {
		return exit.Usagef("%w", err)
	}
	return nil
}

func (o *upOptions) startHost(ctx context.Context) error {
	before, err := control.GetStatus(o.host.DataDir)
	if err != nil {
		return fmt.Errorf("read the status of the embedded host of %q: %w", o.host.DataDir, err)
	}
	err = o.report.Phase(ctx, "the embedded host runs", func(ctx context.Context, detail func(string)) error {
		return control.Start(ctx, o.host, func(phase control.Phase) {
			// The phases of a host that runs already are those of its own start, long ago.
			if before.State != control.Running {
				detail(fmt.Sprintf("%s after %.1f s", phase.Name, phase.At.Seconds()))
			}
		})
	})
	if err != nil {
		return exit.WithNext(fmt.Errorf("start the embedded host of %q: %w", o.host.DataDir, err),
			"`matry status` shows what runs, `matry down` removes what is left of it; the logs are in %s", filepath.Join(o.host.DataDir, "logs"))
	}
	return nil
}

func (o *upOptions) install(ctx context.Context, config *rest.Config, images productImages) error {
	return o.report.Phase(ctx, "Matryoshka is available", func(ctx context.Context, detail func(string)) error {
		chart, err := install.BuiltIn()
		if err != nil {
			return err
		}
		return install.Run(ctx, config, install.Options{
			Chart:  chart,
			Values: images.values(o.host.FrontDoorPort),
			// Only one `matry up` runs for this host, by its lock: one that has not ended was killed.
			TakeOver: true,
			Timeout:  o.timeout,
		}, detail)
	})
}
