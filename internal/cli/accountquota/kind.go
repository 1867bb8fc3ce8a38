package accountquota

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
)

// Kind is what the commands know of account quotas.
var Kind = newKind()

func newKind() *noun.Kind[*tenancyv1alpha1.AccountQuota] {
	kind := &noun.Kind[*tenancyv1alpha1.AccountQuota]{
		Singular: "accountquota", Plural: "accountquotas", Title: "account quota", Titles: "account quotas", Aliases: []string{"aq"},
		Kind:       tenancyv1alpha1.GroupVersion.WithKind("AccountQuota"),
		Empty:      func() *tenancyv1alpha1.AccountQuota { return &tenancyv1alpha1.AccountQuota{} },
		EmptyList:  func() client.ObjectList { return &tenancyv1alpha1.AccountQuotaList{} },
		Conditions: func(quota *tenancyv1alpha1.AccountQuota) []metav1.Condition { return quota.Status.Conditions },
		Advice: map[string]string{
			tenancyv1alpha1.ReasonRefused: "`matry edit accountquota NAME` changes what is refused",
		},
		Lines: func(quota *tenancyv1alpha1.AccountQuota) [][2]string {
			return [][2]string{{"Account", quota.Spec.Account}, {"Scopes", noun.OrNone(scopes(quota))}}
		},
		More:  usage,
		Check: CheckObject,
	}
	kind.Columns = []noun.Column[*tenancyv1alpha1.AccountQuota]{
		{Name: "Account", Cell: func(quota *tenancyv1alpha1.AccountQuota) string { return quota.Spec.Account }},
		{Name: "Ready", Cell: kind.Ready},
		{Name: "Used", Cell: used},
		{Name: "Age", Cell: func(quota *tenancyv1alpha1.AccountQuota) string { return noun.Age(quota.CreationTimestamp) }},
		{Name: "Reason", Wide: true, Cell: kind.Reason},
	}
	return kind
}

// Resources are the names that a list bounds, in order.
func Resources(list corev1.ResourceList) []corev1.ResourceName {
	return slices.Sorted(maps.Keys(list))
}

// Amount is an amount of a list as text.
func Amount(list corev1.ResourceList, name corev1.ResourceName) string {
	amount, found := list[name]
	if !found {
		return "0"
	}
	return amount.String()
}

func used(quota *tenancyv1alpha1.AccountQuota) string {
	parts := make([]string, 0, len(quota.Spec.Quota.Hard))
	for _, name := range Resources(quota.Spec.Quota.Hard) {
		parts = append(parts, fmt.Sprintf("%s: %s/%s", name, Amount(quota.Status.Used, name), Amount(quota.Spec.Quota.Hard, name)))
	}
	return strings.Join(parts, ", ")
}

func scopes(quota *tenancyv1alpha1.AccountQuota) string {
	var names []string
	for _, scope := range quota.Spec.Quota.Scopes {
		names = append(names, string(scope))
	}
	if selector := quota.Spec.Quota.ScopeSelector; selector != nil {
		for _, expression := range selector.MatchExpressions {
			name := string(expression.ScopeName) + " " + string(expression.Operator)
			if len(expression.Values) > 0 {
				name += " (" + strings.Join(expression.Values, ", ") + ")"
			}
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// usage shows what is used, in all and in each namespace.
func usage(_ context.Context, w io.Writer, _ client.Reader, quota *tenancyv1alpha1.AccountQuota) {
	fmt.Fprintln(w, "Usage:")
	fmt.Fprintln(w, "  RESOURCE\tUSED\tHARD")
	for _, name := range Resources(quota.Spec.Quota.Hard) {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", name, Amount(quota.Status.Used, name), Amount(quota.Spec.Quota.Hard, name))
	}
	if len(quota.Status.Namespaces) == 0 {
		return
	}
	fmt.Fprintln(w, "Namespaces:")
	fmt.Fprintln(w, "  NAMESPACE\tRESOURCE\tUSED\tSET ASIDE")
	for _, namespace := range quota.Status.Namespaces {
		for _, name := range Resources(namespace.Hard) {
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", namespace.Namespace, name, Amount(namespace.Used, name), Amount(namespace.Hard, name))
		}
	}
}

// NewGet returns the command "accountquotas" of `matry get`.
func NewGet(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewGet(streams, target, `  # All that you may see, with what is used of them
  matry get accountquotas

  # One, with everything in it
  matry get aq shop -o yaml`)
}

// NewDescribe returns the command "accountquota" of `matry describe`.
func NewDescribe(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewDescribe(streams, target, "Show an account quota and which namespace uses how much of it", `  # Who uses it up?
  matry describe accountquota shop

  # The same of a host cluster that is not the embedded one
  matry describe aq shop --kubeconfig ~/prod.kubeconfig`)
}

// NewEdit returns the command "accountquota" of `matry edit`.
func NewEdit(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewEdit(streams, target, `  # Grant more, or less: nothing is evicted
  matry edit accountquota shop

  # Would it be taken?
  matry edit accountquota shop --dry-run server`)
}

// NewDelete returns the command "accountquota" of `matry delete`.
func NewDelete(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewDelete(streams, target, "", `  # Bound the account no longer
  matry delete accountquota shop

  # In a script: no question, and no error when it is gone already
  matry delete accountquota shop --yes --ignore-not-found`)
}
