package space

import (
	"slices"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/account"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
)

// NewCreate returns the command "space" of `matry create`.
func NewCreate(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	flags := &specFlags{}
	return Kind.NewCreate(streams, target, noun.Maker[*tenancyv1alpha1.Space]{
		Short: "Create a space and wait until it is ready",
		Example: `  # In the account that you belong to
  matry create space web

  # In one of several accounts, asleep when nobody uses it
  matry create space web --account shop --sleep-after 1h

  # With a template
  matry create space web --template web --parameter tier=small`,
		AddFlags: func(command *cobra.Command) { flags.add(command, target) },
		Object:   flags.object,
		Fill:     fillAccount,
		Next: func(space *tenancyv1alpha1.Space) string {
			return "`matry kubectl get all -n " + space.Name + "`, or `matry create virtualcluster NAME -n " + space.Name + "`"
		},
	})
}

// specFlags are the flags that become fields of the spec.
type specFlags struct {
	account    string
	adopt      bool
	template   string
	parameters map[string]string
	sleepAfter time.Duration
}

func (s *specFlags) add(command *cobra.Command, target *hostcluster.Target) {
	flags := command.Flags()
	flags.StringVar(&s.account, "account", "", "account that it belongs to (default the one that you belong to)")
	flags.BoolVar(&s.adopt, "adopt", false, "take over the namespace of this name; only who may delete it can")
	flags.StringVar(&s.template, "template", "", "SpaceTemplate that it gets beside the one of its account")
	flags.StringToStringVar(&s.parameters, "parameter", nil, "`parameters` (name=value,...) of the template")
	flags.DurationVar(&s.sleepAfter, "sleep-after", 0, "how long nothing may happen before it sleeps (default what the account says)")
	_ = command.RegisterFlagCompletionFunc("account", account.Kind.CompleteNames(target))
}

func (s *specFlags) object() (*tenancyv1alpha1.Space, error) {
	space := &tenancyv1alpha1.Space{Spec: tenancyv1alpha1.SpaceSpec{Account: s.account, Adopt: s.adopt}}
	if s.template == "" && len(s.parameters) > 0 {
		return nil, exit.Usagef("--parameter needs --template")
	}
	if s.template != "" {
		space.Spec.Template = &tenancyv1alpha1.SpaceTemplateUse{Name: s.template, Parameters: parametersOf(s.parameters)}
	}
	if s.sleepAfter < 0 {
		return nil, exit.Usagef("--sleep-after: %s is no time to wait; use one such as 30m", s.sleepAfter)
	}
	if s.sleepAfter > 0 {
		space.Spec.Sleep = &tenancyv1alpha1.SpaceSleep{Sleep: tenancyv1alpha1.Sleep{AfterIdle: &metav1.Duration{Duration: s.sleepAfter}}}
	}
	return space, nil
}

// parametersOf are the values in the order of their names, so that the same flags make the same object.
func parametersOf(values map[string]string) []tenancyv1alpha1.ParameterValue {
	list := make([]tenancyv1alpha1.ParameterValue, 0, len(values))
	for name, value := range values {
		list = append(list, tenancyv1alpha1.ParameterValue{Name: name, Value: value})
	}
	slices.SortFunc(list, func(a, b tenancyv1alpha1.ParameterValue) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return list
}
