package sleep

import (
	"errors"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/change"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
	"github.com/matryoshka-dev/matryoshka/internal/cli/space"
	"github.com/matryoshka-dev/matryoshka/internal/cli/virtualcluster"
)

// statusOf and policyOf are the sleep of an object of either kind; the policy is nil where it says nothing of its own.
func statusOf(object client.Object) *tenancyv1alpha1.SleepStatus {
	switch object := object.(type) {
	case *clusterv1alpha1.VirtualCluster:
		return &object.Status.Sleep
	case *tenancyv1alpha1.Space:
		return &object.Status.Sleep
	default:
		return nil
	}
}

func policyOf(object client.Object) *tenancyv1alpha1.Sleep {
	switch object := object.(type) {
	case *clusterv1alpha1.VirtualCluster:
		return object.Spec.Sleep
	case *tenancyv1alpha1.Space:
		if object.Spec.Sleep == nil {
			return nil
		}
		return &object.Spec.Sleep.Sleep
	default:
		return nil
	}
}

func phaseOf(object client.Object) string { return string(statusOf(object).Phase) }

func fallAsleep() change.Verb {
	return change.Verb{
		Past: "put to sleep", Phase: "sleeps",
		Patch: func(client.Object, time.Time) (map[string]any, error) {
			return spec(map[string]any{"force": tenancyv1alpha1.ForceAsleep}), nil
		},
		Done:   func(object client.Object) bool { return statusOf(object).Phase == tenancyv1alpha1.PhaseAsleep },
		Detail: phaseOf,
	}
}

// wakeUp takes the force off and asks for it to wake: it sleeps again as the rest of its policy says.
func wakeUp() change.Verb {
	return change.Verb{
		Past: "woken", Phase: "is awake",
		Patch: func(object client.Object, now time.Time) (map[string]any, error) {
			patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{
				tenancyv1alpha1.AnnotationWake: now.UTC().Format(time.RFC3339),
			}}}
			if policy := policyOf(object); policy != nil && policy.Force == tenancyv1alpha1.ForceAsleep {
				patch["spec"] = spec(map[string]any{"force": nil})["spec"]
			}
			return patch, nil
		},
		Done: func(object client.Object) bool {
			phase := statusOf(object).Phase
			return phase == "" || phase == tenancyv1alpha1.PhaseAwake
		},
		Detail: phaseOf,
	}
}

// longestSnooze is a year: what is to be kept for longer is better kept by not asking for its deletion.
const longestSnooze = 366 * 24 * time.Hour

func snooze(by *time.Duration) change.Verb {
	return change.Verb{
		Past: "snoozed",
		Patch: func(object client.Object, now time.Time) (map[string]any, error) {
			if *by <= 0 || *by > longestSnooze {
				return nil, exit.Usagef("--for must be between a moment and a year, not %s", *by)
			}
			policy := policyOf(object)
			if policy == nil || policy.DeleteAfterIdle == nil {
				return nil, errors.New("nothing asks for its deletion: it has no spec.sleep.deleteAfterIdle of its own")
			}
			return spec(map[string]any{"snoozeUntil": now.Add(*by).UTC().Truncate(time.Second).Format(time.RFC3339)}), nil
		},
	}
}

func spec(sleep map[string]any) map[string]any {
	return map[string]any{"spec": map[string]any{"sleep": sleep}}
}

func newSnooze[T client.Object](streams genericiooptions.IOStreams, target *hostcluster.Target, kind *noun.Kind[T], example string) *cobra.Command {
	by := new(time.Duration)
	command := change.NewCommand(streams, target, kind, snooze(by), "Put off the deletion of a "+kind.Title+" that sleeps for idleness", example)
	command.Flags().DurationVar(by, "for", 7*24*time.Hour, "from now, for how long it is kept")
	return command
}

// NewSleepSpace returns the command "space" of `matry sleep`.
func NewSleepSpace(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return change.NewCommand(streams, target, space.Kind, fallAsleep(), "Stop what runs in a space; nothing wakes it but `matry wake`", `  # Stop what runs in a space
  matry sleep space web

  # And wait until it is so
  matry sleep space web --wait`)
}

// NewSleepVirtualCluster returns the command "virtualcluster" of `matry sleep`.
func NewSleepVirtualCluster(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return change.NewCommand(streams, target, virtualcluster.Kind, fallAsleep(), "Stop the pods and the control plane of a virtual cluster; nothing wakes it but `matry wake`", `  # Stop a virtual cluster; what it holds stays
  matry sleep virtualcluster hello -n demo --wait

  # Would it be taken?
  matry sleep vc hello -n demo --dry-run server`)
}

// NewWakeSpace returns the command "space" of `matry wake`.
func NewWakeSpace(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return change.NewCommand(streams, target, space.Kind, wakeUp(), "Wake a space; it sleeps again as its policy says", `  # Wake a space
  matry wake space web

  # And wait until it is awake
  matry wake space web --wait`)
}

// NewWakeVirtualCluster returns the command "virtualcluster" of `matry wake`.
func NewWakeVirtualCluster(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return change.NewCommand(streams, target, virtualcluster.Kind, wakeUp(), "Wake a virtual cluster; it sleeps again as its policy says", `  # Wake a virtual cluster and wait until it is ready
  matry wake virtualcluster hello -n demo --wait

  # Show what it has become
  matry wake vc hello -n demo -o yaml`)
}

// NewSnoozeSpace returns the command "space" of `matry snooze`.
func NewSnoozeSpace(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return newSnooze(streams, target, space.Kind, `  # Keep a space for a week that would be deleted for idleness
  matry snooze space web

  # For a month
  matry snooze space web --for 720h`)
}

// NewSnoozeVirtualCluster returns the command "virtualcluster" of `matry snooze`.
func NewSnoozeVirtualCluster(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return newSnooze(streams, target, virtualcluster.Kind, `  # Keep a virtual cluster for a week that would be deleted for idleness
  matry snooze virtualcluster hello -n demo

  # For a month
  matry snooze vc hello -n demo --for 720h`)
}
