package access

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
	"github.com/matryoshka-dev/matryoshka/internal/cli/structured"
)

// askTimeout bounds all calls of one question.
const askTimeout = 30 * time.Second

type options struct {
	genericiooptions.IOStreams
	target    *hostcluster.Target
	namespace string
	name      string
	groups    []string
	format    structured.Format
}

// NewCommand returns `matry explain-access`.
func NewCommand(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	o := &options{IOStreams: streams, target: target}
	command := &cobra.Command{
		Use:   "explain-access USER VERB RESOURCE",
		Short: "Say whether somebody may do something on the host cluster, and why",
		Long: "Say whether somebody may do something on the host cluster, and which binding gives it to them, or what is missing. RESOURCE is a\n" +
			"resource as kubectl knows it (po, deployments.apps), with a subresource (pods/log) or a name (accounts/shop), or a path (/metrics).\n" +
			"Groups are not known to a cluster: name those of the user. It is for admins of the host cluster.",
		Example: `  # May anna deploy in the space web? Which binding says so?
  matry explain-access anna create deployments -n web

  # By one of her groups
  matry explain-access anna get pods/log -n web --group devs

  # May she make spaces in the account?
  matry explain-access anna use accounts/shop

  # A program
  matry explain-access system:serviceaccount:web:builder list secrets -n web -o json`,
		Args: func(command *cobra.Command, args []string) error {
			if len(args) == 3 {
				return nil
			}
			return exit.Usagef("%q needs a user, a verb and a resource, such as: matry explain-access anna create pods -n web; got %q", command.CommandPath(), strings.Join(args, " "))
		},
		RunE: func(command *cobra.Command, args []string) error {
			return o.run(command.Context(), args[0], args[1], args[2])
		},
		ValidArgsFunction: complete,
	}
	flags := command.Flags()
	flags.StringVarP(&o.namespace, "namespace", "n", "", "`namespace` in which it is to be done (default all namespaces)")
	flags.StringVar(&o.name, "name", "", "name of the one object that it is to be done to (default every object)")
	flags.StringArrayVar(&o.groups, "group", nil, "`group` that the user is in; may be given several times")
	_ = command.RegisterFlagCompletionFunc("namespace", noun.CompleteNamespaces(target))
	o.format.AddFlag(command)
	return command
}

// complete offers verbs; users are not known to a cluster.
func complete(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(args) {
	case 1:
		return []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "use", "bind", "escalate", "impersonate"}, cobra.ShellCompDirectiveNoFileComp
	case 2:
		return []string{"pods", "pods/log", "pods/exec", "deployments", "secrets", "virtualclusters", "spaces", "accounts"}, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func (o *options) run(ctx context.Context, user, verb, resource string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for what, given := range map[string]string{"user": user, "verb": verb, "resource": resource} {
		if given == "" {
			return exit.Usagef("the %s is empty", what)
		}
	}
	question, err := o.question(user, verb, resource)
	if err != nil {
		return err
	}
	cluster, err := o.target.Client()
	if err != nil {
		return err
	}
	answer, err := ask(ctx, cluster, *question)
	if err != nil {
		if exit.CodeOf(err) == exit.Forbidden {
			return exit.WithNext(err, "only admins of the host cluster may look at the rights of others")
		}
		return err
	}
	if o.format.IsGiven() {
		return o.format.Print(o.Out, answer)
	}
	answer.write(o.Out)
	return nil
}

func (o *options) question(user, verb, resource string) (*Question, error) {
	config, err := o.target.RESTConfig()
	if err != nil {
		return nil, err
	}
	getter, err := hostcluster.NewGetter(config, o.namespace)
	if err != nil {
		return nil, err
	}
	mapper, err := getter.ToRESTMapper()
	if err != nil {
		return nil, err
	}
	server, err := getter.ToDiscoveryClient()
	if err != nil {
		return nil, err
	}
	question := &Question{User: user, Groups: groupsOf(user, o.groups), Verb: verb, Name: o.name, Namespace: o.namespace}
	if err := question.resolve(resource, mapper, server); err != nil {
		return nil, err
	}
	if question.Namespace != "" && !question.Namespaced {
		return nil, exit.Usagef("%s are in no namespace; leave -n out", resource)
	}
	return question, nil
}
