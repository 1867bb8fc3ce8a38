// Package hostcluster finds the host cluster that a command is about and gives clients for it.
//
// The order: --kubeconfig and --context; the embedded host of --data-dir or MATRYOSHKA_DATA_DIR; the embedded host of
// the default data folder when it has a kubeconfig; at last what kubectl would take ($KUBECONFIG, ~/.kube/config). The
// embedded host comes before $KUBECONFIG, since that one points to a virtual cluster inside `matry connect`.
package hostcluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// DefaultDataDir is where the embedded host keeps its data.
const DefaultDataDir = "/var/lib/matryoshka"

// DataDirVariable is the environment variable that names another data folder.
const DataDirVariable = "MATRYOSHKA_DATA_DIR"

// Target says which host cluster a command is about. The zero value is the default one.
type Target struct {
	// Kubeconfig is a file; empty when it was not given.
	Kubeconfig string
	// Context of the kubeconfig; empty means its current one.
	Context string
	// DataDir of the embedded host, when it was given as a flag.
	DataDir string
	// As is the user to act as, and AsGroups are the groups to act as. Empty means as oneself.
	As       string
	AsGroups []string
}

// AddFlags adds the flags that choose the host cluster.
func (t *Target) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&t.Kubeconfig, "kubeconfig", t.Kubeconfig, "kubeconfig `file` of the host cluster, instead of the embedded host's")
	flags.StringVar(&t.Context, "context", t.Context, "`name` of the kubeconfig's context")
	flags.StringVar(&t.DataDir, "data-dir", t.DataDir,
		"data `folder` of the embedded host (default $"+DataDirVariable+" or "+DefaultDataDir+")")
	flags.StringVar(&t.As, "as", t.As, "`user` to act as; only who may impersonate can")
	flags.StringArrayVar(&t.AsGroups, "as-group", t.AsGroups, "`group` to act as, beside --as; may be given several times")
}

// EmbeddedDataDir is the data folder of the embedded host.
func (t *Target) EmbeddedDataDir() string {
	if t.DataDir != "" {
		return t.DataDir
	}
	if dir := os.Getenv(DataDirVariable); dir != "" {
		return dir
	}
	return DefaultDataDir
}

// EmbeddedKubeconfig is the kubeconfig that the embedded host writes for its administrator.
func (t *Target) EmbeddedKubeconfig() string {
	return filepath.Join(t.EmbeddedDataDir(), "kubeconfig")
}

// Loader reads the kubeconfig of the host cluster.
func (t *Target) Loader() (clientcmd.ClientConfig, error) {
	rules, err := t.rules()
	if err != nil {
		return nil, err
	}
	if len(t.AsGroups) > 0 && t.As == "" {
		return nil, exit.Usagef("--as-group needs --as: a group is impersonated with a user")
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{
		CurrentContext: t.Context,
		AuthInfo:       clientcmdapi.AuthInfo{Impersonate: t.As, ImpersonateGroups: t.AsGroups},
	}), nil
}

func (t *Target) rules() (*clientcmd.ClientConfigLoadingRules, error) {
	if t.Kubeconfig != "" {
		if _, err := os.Stat(t.Kubeconfig); err != nil {
			return nil, missing(fmt.Errorf("--kubeconfig: %w", err))
		}
		return &clientcmd.ClientConfigLoadingRules{ExplicitPath: t.Kubeconfig}, nil
	}
	if t.Context != "" {
		return clientcmd.NewDefaultClientConfigLoadingRules(), nil
	}
	embedded := t.EmbeddedKubeconfig()
	// It is opened and not only looked at: everybody may see that it is there, and root may read it.
	file, err := os.Open(embedded)
	if err == nil {
		err = file.Close()
	}
	switch {
	case err == nil:
		return &clientcmd.ClientConfigLoadingRules{ExplicitPath: embedded}, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, exit.WithNext(&exit.Error{Code: exit.Forbidden, Err: fmt.Errorf("the embedded host's kubeconfig: %w", err)},
			"run the command as root, or choose another host cluster with --kubeconfig")
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the embedded host's kubeconfig: %w", err)
	case t.DataDir != "":
		return nil, missing(fmt.Errorf("the embedded host of %q has no kubeconfig: it was never started", t.DataDir))
	}
	return clientcmd.NewDefaultClientConfigLoadingRules(), nil
}

func missing(err error) error {
	return &exit.Error{Code: exit.NotFound, Err: err, Next: "`matry up` starts an embedded host; --kubeconfig FILE chooses another host cluster"}
}

// RESTConfig is how the host cluster is reached.
func (t *Target) RESTConfig() (*rest.Config, error) {
	loader, err := t.Loader()
	if err != nil {
		return nil, err
	}
	config, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, missing(errors.New("no host cluster: there is no embedded host and no kubeconfig"))
	}
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of the host cluster: %w", err)
	}
	return config, nil
}

// Namespace is the one that a command uses when none was given: that of the kubeconfig's context, or "default".
func (t *Target) Namespace() (string, error) {
	loader, err := t.Loader()
	if err != nil {
		return "", err
	}
	namespace, _, err := loader.Namespace()
	if err != nil && !clientcmd.IsEmptyConfig(err) {
		return "", fmt.Errorf("read the kubeconfig of the host cluster: %w", err)
	}
	if namespace == "" {
		return metav1.NamespaceDefault, nil
	}
	return namespace, nil
}
