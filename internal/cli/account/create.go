package account

import (
	"strings"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
)

// NewCreate returns the command "account" of `matry create`.
func NewCreate(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	flags := &specFlags{}
	return Kind.NewCreate(streams, target, noun.Maker[*tenancyv1alpha1.Account]{
		Short: "Create an account: who may use the host cluster, and how much of it",
		Example: `  # Two subjects, three spaces and two virtual clusters
  matry create account shop --user anna --group devs --spaces 3 --virtual-clusters 2

  # With a first space, and no storage but of one class
  matry create account blog --user ben --initial-space blog --storage-class standard

  # Only the object, for Git
  matry create account shop --user anna --dry-run client -o yaml`,
		AddFlags: flags.add,
		Object:   flags.object,
		Next: func(account *tenancyv1alpha1.Account) string {
			return "`matry create accountquota " + account.Name + " --account " + account.Name + " --hard requests.cpu=4,requests.memory=8Gi,pods=50` bounds what it uses"
		},
	})
}

// specFlags are the flags that become fields of the spec. An empty one leaves the field to the schema's default.
type specFlags struct {
	users, groups, serviceAccounts []string
	spaces, virtualClusters        noun.Limit
	running                        noun.Limit
	clusterRole, template          string
	initial                        []string
	storageClasses                 []string
	ingressClasses, runtimeClasses []string
	nodeSelector                   map[string]string
	priorityClass                  string
	podSecurity, maximum           string
	suspended                      bool
}

func (s *specFlags) add(command *cobra.Command) {
	flags := command.Flags()
	flags.StringArrayVar(&s.users, "user", nil, "`user` that the account belongs to; may be given several times")
	flags.StringArrayVar(&s.groups, "group", nil, "`group` that the account belongs to; may be given several times")
	flags.StringArrayVar(&s.serviceAccounts, "service-account", nil, "service account (`NAMESPACE:NAME`) that the account belongs to; may be given several times")
	flags.Var(&s.spaces, "spaces", "how many spaces it may have (default no limit)")
	flags.Var(&s.virtualClusters, "virtual-clusters", "how many virtual clusters it may have (default no limit)")
	flags.Var(&s.running, "running-virtual-clusters", "how many of its virtual clusters may run at a time (default no limit)")
	flags.StringVar(&s.clusterRole, "cluster-role", "", "ClusterRole that its people have in its spaces (default admin)")
	flags.StringVar(&s.template, "space-template", "", "SpaceTemplate that every space of it gets")
	flags.StringArrayVar(&s.initial, "initial-space", nil, "`name` of a space that is made with the account; may be given several times")
	flags.StringSliceVar(&s.storageClasses, "storage-class", nil, "storage `classes` that may be used (default all)")
	flags.StringSliceVar(&s.ingressClasses, "ingress-class", nil, "ingress `classes` that may be used (default all)")
	flags.StringSliceVar(&s.runtimeClasses, "runtime-class", nil, "runtime `classes` that may be used (default all)")
	flags.StringToStringVar(&s.nodeSelector, "node-selector", nil, "`labels` (key=value,...) of the nodes that its pods run on (default all nodes)")
	flags.StringVar(&s.priorityClass, "priority-class", "", "PriorityClass of its pods")
	levels := []string{string(tenancyv1alpha1.PodSecurityPrivileged), string(tenancyv1alpha1.PodSecurityBaseline), string(tenancyv1alpha1.PodSecurityRestricted)}
	noun.Choice(command, &s.podSecurity, "pod-security", "Pod Security Standard of its spaces", levels...)
	noun.Choice(command, &s.maximum, "max-pod-security", "most that its virtual clusters may ask for", levels...)
	flags.BoolVar(&s.suspended, "suspended", false, "it can do nothing until that is lifted")
}

func (s *specFlags) object() (*tenancyv1alpha1.Account, error) {
	subjects, err := s.subjects()
	if err != nil {
		return nil, err
	}
	account := &tenancyv1alpha1.Account{Spec: tenancyv1alpha1.AccountSpec{
		Subjects:  subjects,
		Suspended: s.suspended,
		Spaces: tenancyv1alpha1.AccountSpaces{
			Limit: s.spaces.Value(), ClusterRole: s.clusterRole, Initial: s.initial,
		},
		VirtualClusters: tenancyv1alpha1.AccountVirtualClusters{
			Limit: s.virtualClusters.Value(), RunningLimit: s.running.Value(),
		},
		StorageClasses: allowed(s.storageClasses), IngressClasses: allowed(s.ingressClasses), RuntimeClasses: allowed(s.runtimeClasses),
		NodeSelector:      s.nodeSelector,
		PriorityClassName: s.priorityClass,
		PodSecurity: tenancyv1alpha1.AccountPodSecurity{
			Default: tenancyv1alpha1.PodSecurityLevel(s.podSecurity), Maximum: tenancyv1alpha1.PodSecurityLevel(s.maximum),
		},
	}}
	if s.template != "" {
		account.Spec.Spaces.Template = &tenancyv1alpha1.SpaceTemplateUse{Name: s.template}
	}
	return account, nil
}

func (s *specFlags) subjects() ([]rbacv1.Subject, error) {
	var list []rbacv1.Subject
	for _, name := range s.users {
		list = append(list, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name})
	}
	for _, name := range s.groups {
		list = append(list, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: name})
	}
	for _, given := range s.serviceAccounts {
		namespace, name, found := strings.Cut(given, ":")
		if !found || namespace == "" || name == "" {
			return nil, exit.Usagef("--service-account: %q is not NAMESPACE:NAME", given)
		}
		list = append(list, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name})
	}
	return list, nil
}

// allowed are the classes that were given; none given means that nothing is said.
func allowed(names []string) *tenancyv1alpha1.AllowedClasses {
	if len(names) == 0 {
		return nil
	}
	return &tenancyv1alpha1.AllowedClasses{Names: names}
}
