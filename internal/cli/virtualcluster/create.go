package virtualcluster

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
)

// NewCreate returns the command "virtualcluster" of `matry create`.
func NewCreate(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	flags := &specFlags{}
	return Kind.NewCreate(streams, target, noun.Maker[*clusterv1alpha1.VirtualCluster]{
		Short: "Create a virtual cluster and wait until it is ready",
		Example: `  # A virtual cluster with the defaults
  matry create virtualcluster hello -n demo --create-namespace

  # A throw-away one that keeps nothing when its control plane restarts
  matry create vc preview -n demo --store memory

  # Only the object, for Git
  matry create vc hello -n demo --dry-run client -o yaml`,
		AddFlags: flags.addFlags,
		Object: func() (*clusterv1alpha1.VirtualCluster, error) {
			spec, err := flags.spec()
			return &clusterv1alpha1.VirtualCluster{Spec: spec}, err
		},
		Prepare: func(ctx context.Context, hostClient client.Client, vc *clusterv1alpha1.VirtualCluster) error {
			if !flags.createNamespace {
				return nil
			}
			return EnsureNamespace(ctx, hostClient, vc.Namespace)
		},
		NoNamespace: "`matry create space NAME` makes a space; who may make namespaces creates one with --create-namespace",
		Next: func(vc *clusterv1alpha1.VirtualCluster) string {
			return fmt.Sprintf("`matry connect virtualcluster %s -n %s -- kubectl get namespaces`", vc.Name, vc.Namespace)
		},
	})
}

// EnsureNamespace creates a namespace of the host cluster when it does not exist.
func EnsureNamespace(ctx context.Context, hostClient client.Client, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := hostClient.Create(ctx, namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %q: %w", name, err)
	}
	return nil
}

// specFlags are the flags that become fields of the spec. An empty one leaves the field to the schema's default.
type specFlags struct {
	kubernetesVersion, store, storeSize, storageClass string
	nodes, scheduling, podSecurity                    string
	nodeSelector                                      map[string]string
	isolation, createNamespace                        bool
	isolationGiven                                    func() bool
}

func (s *specFlags) addFlags(command *cobra.Command) {
	flags := command.Flags()
	flags.BoolVar(&s.createNamespace, "create-namespace", false, "create the namespace when it does not exist")
	flags.StringVar(&s.kubernetesVersion, "kubernetes-version", "", "Kubernetes version (default the built-in one, "+clusterv1alpha1.KubernetesVersion+")")
	flags.StringVar(&s.storeSize, "store-size", "", "size of the store's volume (default 1Gi)")
	flags.StringVar(&s.storageClass, "storage-class", "", "storage class of the store's volume (default the host's)")
	flags.StringToStringVar(&s.nodeSelector, "node-selector", nil, "`labels` (key=value,...) of the host nodes to use (default all nodes)")
	flags.BoolVar(&s.isolation, "isolation", true, "keep other tenants and the host's own network out of reach")
	s.isolationGiven = func() bool { return flags.Changed("isolation") }
	for _, choice := range []struct {
		to         *string
		name, what string
		values     []string
	}{
		{&s.store, "store", "where it keeps its objects", []string{string(clusterv1alpha1.StoreSQLite), string(clusterv1alpha1.StoreMemory)}},
		{&s.nodes, "nodes", "which nodes it shows", []string{string(clusterv1alpha1.NodesAll), string(clusterv1alpha1.NodesUsed)}},
		{&s.scheduling, "scheduling", "who chooses the node of a pod", []string{string(clusterv1alpha1.SchedulingHost), string(clusterv1alpha1.SchedulingTenant)}},
		{&s.podSecurity, "pod-security", "Pod Security Standard of its pods", []string{string(clusterv1alpha1.PodSecurityPrivileged), string(clusterv1alpha1.PodSecurityBaseline), string(clusterv1alpha1.PodSecurityRestricted)}},
	} {
		noun.Choice(command, choice.to, choice.name, choice.what, choice.values...)
	}
}

func (s *specFlags) spec() (clusterv1alpha1.VirtualClusterSpec, error) {
	spec := clusterv1alpha1.VirtualClusterSpec{
		KubernetesVersion: s.kubernetesVersion,
		Store:             clusterv1alpha1.Store{Type: clusterv1alpha1.StoreType(s.store)},
		Nodes:             clusterv1alpha1.Nodes{Mode: clusterv1alpha1.NodesMode(s.nodes), Selector: s.nodeSelector},
		Scheduling:        clusterv1alpha1.Scheduling(s.scheduling),
		PodSecurity:       clusterv1alpha1.PodSecurityLevel(s.podSecurity),
	}
	if s.storageClass != "" {
		spec.Store.StorageClassName = &s.storageClass
	}
	if s.isolationGiven() {
		spec.Network.Isolation = &s.isolation
	}
	if s.storeSize == "" {
		return spec, nil
	}
	size, err := resource.ParseQuantity(s.storeSize)
	if err != nil {
		return spec, exit.Usagef("--store-size: %q is not a quantity; use one such as 1Gi", s.storeSize)
	}
	spec.Store.Size = size
	return spec, nil
}
