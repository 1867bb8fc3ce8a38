package accountquota

import (
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/account"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
)

// NewCreate returns the command "accountquota" of `matry create`.
func NewCreate(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	flags := &specFlags{}
	return Kind.NewCreate(streams, target, noun.Maker[*tenancyv1alpha1.AccountQuota]{
		Short: "Create an account quota: what all namespaces of an account may use together",
		Example: `  # What spaces, virtual clusters and their control planes use together
  matry create accountquota shop --account shop --hard requests.cpu=4,requests.memory=8Gi,pods=50

  # With scopes, from a file
  matry create accountquota -f quota.yaml`,
		AddFlags: func(command *cobra.Command) { flags.add(command, target) },
		Object:   flags.object,
	})
}

type specFlags struct {
	account string
	hard    map[string]string
}

func (s *specFlags) add(command *cobra.Command, target *hostcluster.Target) {
	flags := command.Flags()
	flags.StringVar(&s.account, "account", "", "account that is bounded")
	flags.StringToStringVar(&s.hard, "hard", nil, "`amounts` (resource=quantity,...) as of a ResourceQuota, such as requests.cpu=4,pods=50")
	_ = command.RegisterFlagCompletionFunc("account", account.Kind.CompleteNames(target))
}

func (s *specFlags) object() (*tenancyv1alpha1.AccountQuota, error) {
	if s.account == "" {
		return nil, exit.Usagef("--account says which account is bounded; `matry get accounts` lists them")
	}
	if len(s.hard) == 0 {
		return nil, exit.Usagef("--hard says what is bounded, such as --hard requests.cpu=4,pods=50")
	}
	hard := corev1.ResourceList{}
	for name, text := range s.hard {
		if err := checkAmount(name, text); err != nil {
			return nil, exit.Usagef("--hard: %w", err)
		}
		hard[corev1.ResourceName(name)] = resource.MustParse(text)
	}
	return &tenancyv1alpha1.AccountQuota{Spec: tenancyv1alpha1.AccountQuotaSpec{
		Account: s.account, Quota: tenancyv1alpha1.QuotaSpec{Hard: hard},
	}}, nil
}
