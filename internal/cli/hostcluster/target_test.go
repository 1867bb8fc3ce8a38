package hostcluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// write makes a kubeconfig with a context for each server; the first one is current.
func write(t *testing.T, file string, servers ...string) {
	t.Helper()
	config := clientcmdapi.NewConfig()
	for _, server := range servers {
		config.Clusters[server] = &clientcmdapi.Cluster{Server: "https://" + server}
		config.Contexts[server] = &clientcmdapi.Context{Cluster: server, Namespace: "ns-" + server}
	}
	config.CurrentContext = servers[0]
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
}

func TestWhichCluster(t *testing.T) {
	embedded, never := t.TempDir(), t.TempDir()
	write(t, filepath.Join(embedded, "kubeconfig"), "embedded")
	users := filepath.Join(t.TempDir(), "config")
	write(t, users, "users", "second")
	given := filepath.Join(t.TempDir(), "given")
	write(t, given, "given", "other")

	cases := map[string]struct {
		target  Target
		dataDir string // MATRYOSHKA_DATA_DIR
		want    string
	}{
		"embedded by the environment":          {Target{}, embedded, "embedded"},
		"embedded by the flag":                 {Target{DataDir: embedded}, never, "embedded"},
		"no embedded: what kubectl would take": {Target{}, never, "users"},
		"a context is the user's":              {Target{Context: "second"}, embedded, "second"},
		"a file":                               {Target{Kubeconfig: given}, embedded, "given"},
		"a file and a context":                 {Target{Kubeconfig: given, Context: "other"}, embedded, "other"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", users)
			t.Setenv(DataDirVariable, c.dataDir)
			config, err := c.target.RESTConfig()
			if err != nil {
				t.Fatal(err)
			}
			if config.Host != "https://"+c.want {
				t.Errorf("host %q, want %q", config.Host, "https://"+c.want)
			}
			if namespace, err := c.target.Namespace(); err != nil || namespace != "ns-"+c.want {
				t.Errorf("namespace %q, error %v; want %q", namespace, err, "ns-"+c.want)
			}
		})
	}
}

func TestNoCluster(t *testing.T) {
	cases := map[string]Target{
		"nothing at all":     {},
		"absent file":        {Kubeconfig: filepath.Join(t.TempDir(), "absent")},
		"host never started": {DataDir: t.TempDir()},
	}
	for name, target := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", os.DevNull)
			t.Setenv(DataDirVariable, t.TempDir())
			_, err := target.RESTConfig()
			if exit.CodeOf(err) != exit.NotFound || !strings.Contains(exit.Message(err), "matry up") {
				t.Errorf("error %v: want code 3 and the command that helps", err)
			}
		})
	}
}
