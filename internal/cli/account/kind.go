package account

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
)

// Kind is what the commands know of accounts.
var Kind = newKind()

func newKind() *noun.Kind[*tenancyv1alpha1.Account] {
	kind := &noun.Kind[*tenancyv1alpha1.Account]{
		Singular: "account", Plural: "accounts", Title: "account", Titles: "accounts", Aliases: []string{"acc"},
		Kind:       tenancyv1alpha1.GroupVersion.WithKind("Account"),
		Empty:      func() *tenancyv1alpha1.Account { return &tenancyv1alpha1.Account{} },
		EmptyList:  func() client.ObjectList { return &tenancyv1alpha1.AccountList{} },
		Conditions: func(account *tenancyv1alpha1.Account) []metav1.Condition { return account.Status.Conditions },
		Wanted:     []string{tenancyv1alpha1.ReasonSuspended},
		Lines:      lines,
	}
	kind.Columns = []noun.Column[*tenancyv1alpha1.Account]{
		{Name: "Ready", Cell: kind.Ready},
		{Name: "Reason", Cell: kind.Reason},
		{Name: "Spaces", Cell: Spaces},
		{Name: "Virtual-Clusters", Cell: VirtualClusters},
		{Name: "Age", Cell: func(account *tenancyv1alpha1.Account) string { return noun.Age(account.CreationTimestamp) }},
		{Name: "Running", Wide: true, Cell: Running},
		{Name: "Subjects", Wide: true, Cell: func(account *tenancyv1alpha1.Account) string { return subjects(account.Spec.Subjects) }},
	}
	return kind
}

// Spaces is how many spaces there are, of how many there may be.
func Spaces(account *tenancyv1alpha1.Account) string {
	return of(account.Status.Spaces, account.Spec.Spaces.Limit)
}

// VirtualClusters is how many virtual clusters there are, of how many there may be.
func VirtualClusters(account *tenancyv1alpha1.Account) string {
	return of(account.Status.VirtualClusters, account.Spec.VirtualClusters.Limit)
}

// Running is how many virtual clusters run, of how many may run.
func Running(account *tenancyv1alpha1.Account) string {
	return of(account.Status.RunningVirtualClusters, account.Spec.VirtualClusters.RunningLimit)
}

func of(count int32, limit *int32) string {
	if limit == nil {
		return strconv.Itoa(int(count))
	}
	return fmt.Sprintf("%d/%d", count, *limit)
}

// subjects lists them as people name them.
func subjects(list []rbacv1.Subject) string {
	names := make([]string, 0, len(list))
	for _, subject := range list {
		switch subject.Kind {
		case rbacv1.UserKind:
			names = append(names, subject.Name)
		case rbacv1.GroupKind:
			names = append(names, "group "+subject.Name)
		default:
			names = append(names, "service account "+subject.Namespace+":"+subject.Name)
		}
	}
	return strings.Join(names, ", ")
}

func lines(account *tenancyv1alpha1.Account) [][2]string {
	spec := account.Spec
	result := [][2]string{
		{"Subjects", noun.OrNone(subjects(spec.Subjects))},
		{"Spaces", Spaces(account)},
		{"Virtual clusters", VirtualClusters(account) + ", running " + Running(account)},
		{"Suspended", strconv.FormatBool(spec.Suspended)},
		{"Role in spaces", spec.Spaces.ClusterRole},
		{"Pod security", string(spec.PodSecurity.Default) + " in spaces, at most " + string(spec.PodSecurity.Maximum)},
		{"Storage classes", classes(spec.StorageClasses)},
		{"Ingress classes", classes(spec.IngressClasses)},
		{"Runtime classes", classes(spec.RuntimeClasses)},
	}
	for _, line := range [][2]string{
		{"Space template", templateOf(spec.Spaces.Template)},
		{"Nodes", labels.Set(spec.NodeSelector).String()},
		{"Priority class", spec.PriorityClassName},
	} {
		if line[1] != "" {
			result = append(result, line)
		}
	}
	return result
}

func classes(allowed *tenancyv1alpha1.AllowedClasses) string {
	if allowed == nil {
		return "all"
	}
	return noun.OrNone(strings.Join(allowed.Names, ", "))
}

func templateOf(use *tenancyv1alpha1.SpaceTemplateUse) string {
	if use == nil {
		return ""
	}
	return use.Name
}

// NewGet returns the command "accounts" of `matry get`.
func NewGet(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewGet(streams, target, `  # Those that you belong to; an admin sees all
  matry get accounts

  # With their subjects
  matry get acc -o wide`)
}

// NewDescribe returns the command "account" of `matry describe`.
func NewDescribe(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewDescribe(streams, target, "Show an account, its limits and what happened to it", `  # What may it use?
  matry describe account shop

  # As one of its people sees it
  matry describe account shop --as anna`)
}

// NewEdit returns the command "account" of `matry edit`.
func NewEdit(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewEdit(streams, target, `  # Change limits, subjects, or suspend it
  matry edit account shop

  # In another editor, and only to see whether it would be taken
  EDITOR=nano matry edit account shop --dry-run server`)
}

// NewDelete returns the command "account" of `matry delete`.
func NewDelete(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewDelete(streams, target, "", `  # Delete an account and wait until nothing of it is left
  matry delete account shop

  # In a script: no question, and no error when it is gone already
  matry delete account shop --yes --ignore-not-found`)
}
