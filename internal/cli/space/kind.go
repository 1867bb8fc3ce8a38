package space

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
)

// Kind is what the commands know of spaces.
var Kind = newKind()

func newKind() *noun.Kind[*tenancyv1alpha1.Space] {
	kind := &noun.Kind[*tenancyv1alpha1.Space]{
		Singular: "space", Plural: "spaces", Title: "space", Titles: "spaces", Aliases: []string{"sp"},
		Kind:       tenancyv1alpha1.GroupVersion.WithKind("Space"),
		Empty:      func() *tenancyv1alpha1.Space { return &tenancyv1alpha1.Space{} },
		EmptyList:  func() client.ObjectList { return &tenancyv1alpha1.SpaceList{} },
		Conditions: func(space *tenancyv1alpha1.Space) []metav1.Condition { return space.Status.Conditions },
		Advice: map[string]string{
			tenancyv1alpha1.ReasonLimitReached:   "delete a space that is not needed any more (`matry get spaces`), or ask who runs the host cluster for a higher limit; it gets ready by itself when there is room",
			tenancyv1alpha1.ReasonNamespaceTaken: "`matry delete space NAME`, and choose another name; whoever the namespace belongs to can release it by the label matryoshka.dev/adopt and take it over with --adopt",
			tenancyv1alpha1.ReasonNoAccount:      "`matry get accounts` lists those that there are for you",
			tenancyv1alpha1.ReasonSuspended:      "the account is suspended; ask who runs the host cluster",
		},
		Lines: lines,
	}
	kind.Columns = []noun.Column[*tenancyv1alpha1.Space]{
		{Name: "Account", Cell: func(space *tenancyv1alpha1.Space) string { return space.Spec.Account }},
		{Name: "Ready", Cell: kind.Ready},
		{Name: "Reason", Cell: kind.Reason},
		{Name: "Asleep", Cell: asleep},
		{Name: "Age", Cell: func(space *tenancyv1alpha1.Space) string { return noun.Age(space.CreationTimestamp) }},
	}
	return kind
}

// asleep is empty where nobody has said anything about sleep yet.
func asleep(space *tenancyv1alpha1.Space) string {
	condition := meta.FindStatusCondition(space.Status.Conditions, tenancyv1alpha1.ConditionAsleep)
	if condition == nil {
		return ""
	}
	return string(condition.Status)
}

func lines(space *tenancyv1alpha1.Space) [][2]string {
	result := [][2]string{
		{"Account", space.Spec.Account},
		{"Namespace", space.Name + " of the host"},
		{"Adopted", strconv.FormatBool(space.Spec.Adopt)},
	}
	if use := space.Spec.Template; use != nil {
		given := make([]string, 0, len(use.Parameters))
		for _, parameter := range use.Parameters {
			given = append(given, parameter.Name)
		}
		line := use.Name
		if len(given) > 0 {
			line += ", with " + strings.Join(given, ", ")
		}
		result = append(result, [2]string{"Template", line})
	}
	if asleep := asleep(space); asleep != "" {
		result = append(result, [2]string{"Asleep", asleep})
	}
	return result
}

// NewGet returns the command "spaces" of `matry get`.
func NewGet(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewGet(streams, target, `  # Yours; an admin sees all
  matry get spaces

  # One, for a script
  matry get space web -o 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}'`)
}

// NewDescribe returns the command "space" of `matry describe`.
func NewDescribe(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewDescribe(streams, target, "Show a space and what happened to it", `  # What does it wait for?
  matry describe space web

  # The same of a host cluster that is not the embedded one
  matry describe sp web --kubeconfig ~/prod.kubeconfig`)
}

// NewEdit returns the command "space" of `matry edit`.
func NewEdit(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewEdit(streams, target, `  # Change when it sleeps
  matry edit space web

  # And wait until it is so
  matry edit space web --wait`)
}

// NewDelete returns the command "space" of `matry delete`.
func NewDelete(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Kind.NewDelete(streams, target, "everything in it, virtual clusters and data too", `  # Delete one and wait until nothing of it is left
  matry delete space web

  # In a script: no question, and no error when it is gone already
  matry delete space web --yes --ignore-not-found`)
}
