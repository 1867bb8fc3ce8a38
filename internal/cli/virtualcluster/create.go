package virtualcluster

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/output"
	"github.com/matryoshka-dev/matryoshka/internal/cli/progress"
)

type createOptions struct {
	place
	genericiooptions.IOStreams
	print output.Flags

	name            string
	createNamespace bool
	dryRun          string
	wait            bool
	timeout         time.Duration
	spec            specFlags
}

// NewCreate returns the command "virtualcluster" of `matry create`.
func NewCreate(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	o := &createOptions{place: place{target: target}, IOStreams: streams}
	command := &cobra.Command{
		Use:     "virtualcluster NAME",
		Aliases: aliases,
		Short:   "Create a virtual cluster and wait until it is ready",
		Example: `  # A virtual cluster with the defaults
  matry create virtualcluster hello -n demo --create-namespace

  # A throw-away one that keeps nothing when its control plane restarts
  matry create vc preview -n demo --store memory

  # Only the object, for Git
  matry create vc hello -n demo --dry-run client -o yaml`,
		Args: arguments.One("the name of the virtual cluster"),
		RunE: func(command *cobra.Command, args []string) error {
			o.name = args[0]
			return o.run(command.Context())
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := command.Flags()
	flags.BoolVar(&o.createNamespace, "create-namespace", false, "create the namespace when it does not exist")
	flags.StringVar(&o.dryRun, "dry-run", "none", "none, client (print the object) or server (let the API server check it)")
	flags.BoolVar(&o.wait, "wait", true, "wait until the virtual cluster is ready")
	flags.DurationVar(&o.timeout, "timeout", 3*time.Minute, "how long to wait")
	_ = command.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]string{"none", "client", "server"}, cobra.ShellCompDirectiveNoFileComp))
	o.spec.addFlags(command)
	o.addFlag(command)
	o.print.AddFlags(command, hostcluster.Scheme, false)
	return command
}

func (o *createOptions) run(ctx context.Context) error {
	if err := o.validate(); err != nil {
		return err
	}
	vc, err := o.object()
	if err != nil {
		return err
	}
	if o.dryRun == "client" {
		return o.printObject(vc)
	}
	hostClient, err := o.target.Client()
	if err != nil {
		return err
	}
	if err := o.create(ctx, hostClient, vc); err != nil {
		return err
	}
	if o.dryRun == "server" {
		return o.printObject(vc)
	}
	if o.wait {
		if vc, err = o.waitReady(ctx, hostClient, client.ObjectKeyFromObject(vc)); err != nil {
			return err
		}
		fmt.Fprintf(o.ErrOut, "next: `matry connect virtualcluster %s -n %s -- kubectl get namespaces`\n", vc.Name, vc.Namespace)
	}
	return o.printObject(vc)
}

func (o *createOptions) validate() error {
	if err := ValidateName(o.name); err != nil {
		return err
	}
	switch o.dryRun {
	case "none", "client", "server":
	default:
		return exit.Usagef("--dry-run: %q is not known; use none, client or server", o.dryRun)
	}
	if err := o.print.Validate(false); err != nil {
		return err
	}
	return o.complete()
}

func (o *createOptions) object() (*clusterv1alpha1.VirtualCluster, error) {
	spec, err := o.spec.spec()
	if err != nil {
		return nil, err
	}
	return &clusterv1alpha1.VirtualCluster{
		TypeMeta:   metav1.TypeMeta{APIVersion: clusterv1alpha1.GroupVersion.String(), Kind: "VirtualCluster"},
		ObjectMeta: metav1.ObjectMeta{Name: o.name, Namespace: o.namespace},
		Spec:       spec,
	}, nil
}

func (o *createOptions) create(ctx context.Context, hostClient client.WithWatch, vc *clusterv1alpha1.VirtualCluster) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if o.createNamespace && o.dryRun == "none" {
		if err := EnsureNamespace(ctx, hostClient, vc.Namespace); err != nil {
			return err
		}
	}
	var options []client.CreateOption
	if o.dryRun == "server" {
		options = append(options, client.DryRunAll)
	}
	key := client.ObjectKeyFromObject(vc)
	err := hostClient.Create(ctx, vc, append(options, client.FieldOwner("matry"))...)
	switch {
	case err == nil:
		return nil
	case apierrors.IsAlreadyExists(err):
		return exit.WithNext(fmt.Errorf("create virtual cluster %q: it already exists", key),
			"choose another name, or see it with `matry get virtualcluster %s -n %s`", key.Name, key.Namespace)
	case apierrors.IsNotFound(err) && !isNotInstalled(err):
		return exit.WithNext(fmt.Errorf("create virtual cluster %q: %w", key, err), "create the namespace too with --create-namespace")
	}
	return explain(fmt.Errorf("create virtual cluster %q: %w", key, err), key.Namespace)
}

// EnsureNamespace creates a namespace of the host cluster when it does not exist.
func EnsureNamespace(ctx context.Context, hostClient client.Client, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := hostClient.Create(ctx, namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %q: %w", name, err)
	}
	return nil
}

func (o *createOptions) waitReady(ctx context.Context, hostClient client.WithWatch, key client.ObjectKey) (*clusterv1alpha1.VirtualCluster, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	var ready *clusterv1alpha1.VirtualCluster
	err := progress.New(o.ErrOut).Phase(ctx, fmt.Sprintf("virtual cluster %s is ready", key), func(ctx context.Context, detail func(string)) (err error) {
		ready, err = WaitReady(ctx, hostClient, key, detail)
		return err
	})
	return ready, err
}

func (o *createOptions) printObject(vc *clusterv1alpha1.VirtualCluster) error {
	if o.print.Format != "" {
		return o.print.Print(o.Out, vc, nil)
	}
	done := "created"
	if o.dryRun != "none" {
		done = "created (" + o.dryRun + " dry run)"
	}
	_, err := fmt.Fprintf(o.Out, "virtualcluster.%s/%s %s\n", clusterv1alpha1.GroupVersion.Group, vc.Name, done)
	return err
}

// specFlags are the flags that become fields of the spec. An empty one leaves the field to the schema's default.
type specFlags struct {
	kubernetesVersion, store, storeSize, storageClass string
	nodes, scheduling, podSecurity                    string
	nodeSelector                                      map[string]string
	isolation                                         bool
	isolationGiven                                    func() bool
}

func (s *specFlags) addFlags(command *cobra.Command) {
	flags := command.Flags()
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
		flags.Var(&choiceValue{to: choice.to, values: choice.values}, choice.name, choice.what)
		_ = command.RegisterFlagCompletionFunc(choice.name, cobra.FixedCompletions(choice.values, cobra.ShellCompDirectiveNoFileComp))
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
