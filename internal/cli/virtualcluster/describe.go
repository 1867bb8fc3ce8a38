package virtualcluster

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// NewDescribe returns the command "virtualcluster" of `matry describe`.
func NewDescribe(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	at := place{target: target}
	command := &cobra.Command{
		Use:     "virtualcluster NAME",
		Aliases: aliases,
		Short:   "Show a virtual cluster, its pods on the host and what happened to it",
		Example: `  # What does it wait for?
  matry describe virtualcluster hello -n demo

  # The same of a host cluster that is not the embedded one
  matry describe vc hello -n demo --kubeconfig ~/prod.kubeconfig`,
		Args: arguments.One("the name of the virtual cluster"),
		RunE: func(command *cobra.Command, args []string) error {
			if err := at.complete(); err != nil {
				return err
			}
			hostClient, err := target.Client()
			if err != nil {
				return err
			}
			return describe(command.Context(), streams.Out, hostClient, client.ObjectKey{Namespace: at.namespace, Name: args[0]})
		},
		ValidArgsFunction: CompleteNames(target),
	}
	at.addFlag(command)
	return command
}

func describe(ctx context.Context, w io.Writer, hostClient client.Reader, key client.ObjectKey) error {
	vc, err := Get(ctx, hostClient, key)
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	describeSpec(out, vc)
	describeConditions(out, vc)
	describePods(ctx, out, hostClient, vc)
	describeEvents(ctx, out, hostClient, vc)
	return out.Flush()
}

func describeSpec(w io.Writer, vc *clusterv1alpha1.VirtualCluster) {
	spec, status := vc.Spec, vc.Status
	store := string(spec.Store.Type)
	if spec.Store.Type == clusterv1alpha1.StoreSQLite {
		store += ", " + spec.Store.Size.String()
	}
	nodes := string(spec.Nodes.Mode)
	if len(spec.Nodes.Selector) > 0 {
		nodes += ", with " + labels.Set(spec.Nodes.Selector).String()
	}
	isolation := "on"
	if spec.Network.Isolation != nil && !*spec.Network.Isolation {
		isolation = "off"
	}
	for _, line := range [][2]string{
		{"Name", vc.Name},
		{"Namespace", vc.Namespace},
		{"Age", age(vc.CreationTimestamp)},
		{"State", stateOf(vc).text()},
		{"ID", orNone(status.ID)},
		{"Kubernetes", orNone(status.KubernetesVersion)},
		{"Endpoint", orNone(status.Endpoint)},
		{"Server name", orNone(status.ServerName)},
		{"Kubeconfig", "Secret " + orNone(status.KubeconfigSecret)},
		{"Replicas", fmt.Sprint(spec.Replicas)},
		{"Store", store},
		{"Nodes", nodes},
		{"Scheduling", string(spec.Scheduling)},
		{"Pod security", string(spec.PodSecurity)},
		{"Isolation", isolation},
		{"Paused", fmt.Sprint(spec.Paused)},
	} {
		fmt.Fprintf(w, "%s:\t%s\n", line[0], line[1])
	}
}

func describeConditions(w io.Writer, vc *clusterv1alpha1.VirtualCluster) {
	fmt.Fprintln(w, "Conditions:")
	if len(vc.Status.Conditions) == 0 {
		fmt.Fprintln(w, "  none: the agent has not seen it yet; does it run? `matry status`")
		return
	}
	fmt.Fprintln(w, "  TYPE\tSTATUS\tSINCE\tREASON\tMESSAGE")
	for _, c := range vc.Status.Conditions {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", c.Type, c.Status, age(c.LastTransitionTime), c.Reason, c.Message)
	}
}

// describePods shows the control plane's pods. Who may not read them is told so.
func describePods(ctx context.Context, w io.Writer, hostClient client.Reader, vc *clusterv1alpha1.VirtualCluster) {
	if vc.Status.ID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pods := &corev1.PodList{}
	err := hostClient.List(ctx, pods, client.InNamespace(mapping.ControlNamespace(vc.Status.ID)))
	fmt.Fprintf(w, "Control plane (namespace %s of the host):\n", mapping.ControlNamespace(vc.Status.ID))
	if err != nil {
		fmt.Fprintf(w, "  not shown: %v\n", err)
		return
	}
	fmt.Fprintln(w, "  POD\tPHASE\tNODE\tRESTARTS\tAGE")
	for _, pod := range pods.Items {
		restarts := int32(0)
		for _, container := range pod.Status.ContainerStatuses {
			restarts += container.RestartCount
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%d\t%s\n", pod.Name, pod.Status.Phase, orNone(pod.Spec.NodeName), restarts, age(pod.CreationTimestamp))
	}
}

// mostEvents keeps the answer readable.
const mostEvents = 20

func describeEvents(ctx context.Context, w io.Writer, hostClient client.Reader, vc *clusterv1alpha1.VirtualCluster) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	events := &corev1.EventList{}
	err := hostClient.List(ctx, events, client.InNamespace(vc.Namespace),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("involvedObject.uid", string(vc.UID))})
	fmt.Fprintln(w, "Events:")
	if err != nil {
		fmt.Fprintf(w, "  not shown: %v\n", err)
		return
	}
	if len(events.Items) == 0 {
		fmt.Fprintln(w, "  none")
		return
	}
	slices.SortFunc(events.Items, func(a, b corev1.Event) int { return lastSeen(&b).Compare(lastSeen(&a).Time) })
	fmt.Fprintln(w, "  LAST SEEN\tTYPE\tREASON\tMESSAGE")
	for _, event := range events.Items[:min(len(events.Items), mostEvents)] {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", age(lastSeen(&event)), event.Type, event.Reason, event.Message)
	}
}
