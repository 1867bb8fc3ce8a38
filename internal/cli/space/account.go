package space

import (
	"context"
	"errors"
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/account"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/visible"
)

// shownAccounts keeps a message readable.
const shownAccounts = 20

// fillAccount takes the account of somebody who belongs to one. Who belongs to several must say which.
func fillAccount(ctx context.Context, cluster client.Client, space *tenancyv1alpha1.Space) error {
	if space.Spec.Account != "" {
		return nil
	}
	names, err := usable(ctx, cluster)
	if err != nil {
		return exit.WithNext(fmt.Errorf("find your account: %w", err), "name it with --account")
	}
	switch len(names) {
	case 0:
		return exit.WithNext(&exit.Error{Code: exit.Forbidden, Err: fmt.Errorf("%s belongs to no account", whoami(ctx, cluster))},
			"ask who runs the host cluster for one: `matry create account NAME --user YOU`")
	case 1:
		space.Spec.Account = names[0]
		return nil
	}
	shown := names[:min(len(names), shownAccounts)]
	list := strings.Join(shown, ", ")
	if more := len(names) - len(shown); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return exit.WithNext(exit.Usagef("%s may use %d accounts: %s", whoami(ctx, cluster), len(names), list), "choose one with --account, or with spec.account in a file")
}

// usable are the accounts in which the user may make spaces.
func usable(ctx context.Context, cluster client.Client) ([]string, error) {
	found, err := visible.Find(ctx, visible.Self(cluster), visible.Accounts, visible.VerbUse, nil)
	if err != nil {
		return nil, err
	}
	if !found.All() {
		return found.Sorted(), nil
	}
	// An admin may use every account.
	accounts, err := account.Kind.List(ctx, cluster)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(accounts))
	for _, one := range accounts {
		names = append(names, one.Name)
	}
	if len(names) == 0 {
		return nil, errors.New("the host cluster has no account yet; `matry create account NAME` makes one")
	}
	return names, nil
}

// whoami is the user as the API server knows them.
func whoami(ctx context.Context, cluster client.Client) string {
	review := &authenticationv1.SelfSubjectReview{}
	if err := cluster.Create(ctx, review); err != nil {
		return "the user"
	}
	return fmt.Sprintf("user %q", review.Status.UserInfo.Username)
}
