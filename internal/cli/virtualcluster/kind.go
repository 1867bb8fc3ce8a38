package virtualcluster

import (
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
)

// Kind is what the commands know of virtual clusters.
var Kind = newKind()

func newKind() *noun.Kind[*clusterv1alpha1.VirtualCluster] {
	kind := &noun.Kind[*clusterv1alpha1.VirtualCluster]{
		Singular: "virtualcluster", Plural: "virtualclusters", Title: "virtual cluster", Titles: "virtual clusters", Aliases: []string{"vc", "vcs"},
		Kind:       clusterv1alpha1.GroupVersion.WithKind("VirtualCluster"),
		Namespaced: true,
		Empty:      func() *clusterv1alpha1.VirtualCluster { return &clusterv1alpha1.VirtualCluster{} },
		EmptyList:  func() client.ObjectList { return &clusterv1alpha1.VirtualClusterList{} },
		Conditions: func(vc *clusterv1alpha1.VirtualCluster) []metav1.Condition { return vc.Status.Conditions },
		Advice: map[string]string{
			clusterv1alpha1.ReasonAccountLimitReached: "delete a virtual cluster that is not needed any more or put one to sleep (`matry get virtualclusters`), or ask who runs the host cluster for a higher limit; it goes on by itself when there is room",
		},
		Lines: describeSpec,
		More:  describePods,
	}
	kind.Columns = []noun.Column[*clusterv1alpha1.VirtualCluster]{
		{Name: "Ready", Cell: kind.Ready},
		{Name: "Reason", Cell: kind.Reason},
		{Name: "Version", Cell: func(vc *clusterv1alpha1.VirtualCluster) string { return vc.Status.KubernetesVersion }},
		{Name: "Age", Cell: func(vc *clusterv1alpha1.VirtualCluster) string { return noun.Age(vc.CreationTimestamp) }},
		{Name: "ID", Wide: true, Cell: func(vc *clusterv1alpha1.VirtualCluster) string { return vc.Status.ID }},
		{Name: "Store", Wide: true, Cell: func(vc *clusterv1alpha1.VirtualCluster) string { return string(vc.Spec.Store.Type) }},
		{Name: "Endpoint", Wide: true, Cell: func(vc *clusterv1alpha1.VirtualCluster) string { return vc.Status.Endpoint }},
	}
	return kind
}

// NewGet returns the command "virtualclusters" of `matry get`.
func NewGet(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewGet(streams, target, `  # Those of all your spaces; an admin sees all
  matry get virtualclusters

  # Those of one namespace, with their IDs and addresses
  matry get vc -n demo -o wide

  # The state of one, for a script
  matry get vc hello -n demo -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'`)
}

// NewDescribe returns the command "virtualcluster" of `matry describe`.
func NewDescribe(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewDescribe(streams, target, "Show a virtual cluster, its pods on the host and what happened to it", `  # What does it wait for?
  matry describe virtualcluster hello -n demo

  # The same of a host cluster that is not the embedded one
  matry describe vc hello -n demo --kubeconfig ~/prod.kubeconfig`)
}

// NewEdit returns the command "virtualcluster" of `matry edit`.
func NewEdit(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewEdit(streams, target, `  # Change it, and wait until it is so
  matry edit virtualcluster hello -n demo --wait

  # Would it be taken?
  matry edit vc hello -n demo --dry-run server`)
}

// NewDelete returns the command "virtualcluster" of `matry delete`.
func NewDelete(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewDelete(streams, target, "everything in them, data too", `  # Delete one and wait until nothing of it is left on the host
  matry delete virtualcluster hello -n demo

  # In a script: no question, and no error when it is gone already
  matry delete vc hello -n demo --yes --ignore-not-found`)
}
