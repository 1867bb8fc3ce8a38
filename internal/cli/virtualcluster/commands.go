package virtualcluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
)

// Aliases of the noun, singular and plural alike.
var aliases = []string{"virtualclusters", "vc", "vcs"}

// callTimeout bounds a single call of the host's API.
const callTimeout = 30 * time.Second

// maxName is the limit that the schema of VirtualCluster sets.
const maxName = 50

// ValidateName says what is wrong with the name of a virtual cluster. The API server checks the same rule; here it
// costs no round trip and the message names the argument.
func ValidateName(name string) error {
	if len(name) > maxName {
		return exit.Usagef("name %q has %d characters; the name of a virtual cluster may have at most %d", name, len(name), maxName)
	}
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return exit.Usagef("name %q is not a DNS label: use lower-case letters, digits and '-', beginning and ending with a letter or digit, such as %q",
			name, suggestName(name))
	}
	return nil
}

// suggestName makes a valid name that resembles the given one.
func suggestName(name string) string {
	near := strings.Map(func(r rune) rune {
		if (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	if near = strings.Trim(near, "-"); near == "" {
		return "hello"
	}
	return near
}

// place is the namespace flag that all commands of this package have.
type place struct {
	target    *hostcluster.Target
	namespace string
}

func (p *place) addFlag(command *cobra.Command) {
	command.Flags().StringVarP(&p.namespace, "namespace", "n", "", "`namespace` of the host cluster (default that of the kubeconfig's context)")
	// The errors are programming errors: the flag is added one line above.
	_ = command.RegisterFlagCompletionFunc("namespace", CompleteNamespaces(p.target))
}

// complete fills the namespace in.
func (p *place) complete() error {
	if p.namespace != "" {
		return nil
	}
	namespace, err := p.target.Namespace()
	if err != nil {
		return err
	}
	p.namespace = namespace
	return nil
}

// Get reads one virtual cluster, with an error that helps when there is none, or can be none of this name.
func Get(ctx context.Context, hostClient client.Reader, key client.ObjectKey) (*clusterv1alpha1.VirtualCluster, error) {
	if err := ValidateName(key.Name); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	vc := &clusterv1alpha1.VirtualCluster{}
	if err := hostClient.Get(ctx, key, vc); err != nil {
		return nil, explain(fmt.Errorf("get virtual cluster %q: %w", key, err), key.Namespace)
	}
	return vc, nil
}

// explain adds what to do next to the two errors that everybody meets: no such virtual cluster, and a host cluster
// without the product.
func explain(err error, namespace string) error {
	if isNotInstalled(err) {
		return exit.WithNext(err, "the host cluster does not know virtual clusters: `matry install` installs Matryoshka there")
	}
	if apierrors.IsNotFound(err) {
		return exit.WithNext(err, "`matry get virtualclusters -n %s` lists those of this namespace, -A all", namespace)
	}
	return err
}

// isNotInstalled tells a host cluster without our resource from one without the object: the former answers with a page
// that is not an API status.
func isNotInstalled(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}
