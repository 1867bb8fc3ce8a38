package kubeconfig

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var hello = client.ObjectKey{Namespace: "demo", Name: "hello"}

// ofAgent is a kubeconfig as the agent writes it, with an entry that is not in use.
func ofAgent() *clientcmdapi.Config {
	return &clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: "https://127.0.0.1:8443", TLSServerName: "x7k2p3q4.vc.matryoshka.internal"}, "other": {}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {ClientCertificateData: []byte("cert")}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}, "broken": {Cluster: "none", AuthInfo: "u"}},
		CurrentContext: "x",
	}
}

func helloConfig(t *testing.T) *clientcmdapi.Config {
	t.Helper()
	config, err := single(ofAgent(), ContextName(hello))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestSingleKeepsOneContextUnderOneName(t *testing.T) {
	config := helloConfig(t)
	const name = "matryoshka_demo_hello"
	if config.CurrentContext != name || len(config.Contexts) != 1 || len(config.Clusters) != 1 || len(config.AuthInfos) != 1 {
		t.Fatalf("config %+v, want one context, cluster and user", config)
	}
	if got := config.Clusters[name].TLSServerName; got != "x7k2p3q4.vc.matryoshka.internal" {
		t.Errorf("TLS server name %q: the front door routes by it", got)
	}
	if context := config.Contexts[name]; context.Cluster != name || context.AuthInfo != name {
		t.Errorf("context %+v, want cluster and user %q", context, name)
	}
}

func TestSingleRefusesBrokenConfig(t *testing.T) {
	for name, current := range map[string]string{"no context": "absent", "no cluster": "broken"} {
		t.Run(name, func(t *testing.T) {
			config := ofAgent()
			config.CurrentContext = current
			if _, err := single(config, "n"); err == nil {
				t.Error("accepted, want an error")
			}
		})
	}
}

func TestMergeTouchesItsOwnEntriesOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	t.Setenv("KUBECONFIG", file)
	mine := clientcmdapi.NewConfig()
	mine.Clusters["prod"] = &clientcmdapi.Cluster{Server: "https://prod"}
	mine.AuthInfos["me"] = &clientcmdapi.AuthInfo{Token: "secret"}
	mine.Contexts["prod"] = &clientcmdapi.Context{Cluster: "prod", AuthInfo: "me", Namespace: "web"}
	mine.CurrentContext = "prod"
	mine.Extensions["note"] = &runtime.Unknown{Raw: []byte(`{"kept":true}`), ContentType: runtime.ContentTypeJSON}
	if err := clientcmd.WriteToFile(*mine, file); err != nil {
		t.Fatal(err)
	}

	if err := Merge(clientcmd.NewDefaultPathOptions(), helloConfig(t), false); err != nil {
		t.Fatal(err)
	}
	merged := load(t, file)
	if merged.CurrentContext != "prod" {
		t.Errorf("current context %q, want the old one: nobody asked for another", merged.CurrentContext)
	}
	if diff := cmp.Diff("https://prod", merged.Clusters["prod"].Server); diff != "" {
		t.Error(diff)
	}
	if merged.AuthInfos["me"].Token != "secret" || merged.Contexts["prod"].Namespace != "web" || merged.Extensions["note"] == nil {
		t.Error("an entry of the user was lost")
	}
	if merged.Clusters["matryoshka_demo_hello"].Server != "https://127.0.0.1:8443" {
		t.Error("the virtual cluster is not in the file")
	}

	// The user chooses a namespace; a second merge keeps it and now changes the current context.
	merged.Contexts["matryoshka_demo_hello"].Namespace = "mine"
	if err := clientcmd.WriteToFile(*merged, file); err != nil {
		t.Fatal(err)
	}
	if err := Merge(clientcmd.NewDefaultPathOptions(), helloConfig(t), true); err != nil {
		t.Fatal(err)
	}
	again := load(t, file)
	if got := again.Contexts["matryoshka_demo_hello"].Namespace; got != "mine" {
		t.Errorf("namespace %q, want the user's", got)
	}
	if again.CurrentContext != "matryoshka_demo_hello" {
		t.Errorf("current context %q, want the virtual cluster", again.CurrentContext)
	}
}

func TestWriteFileIsPrivate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hello.kubeconfig")
	// A file that is there and open to all does not stay so.
	if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(file, helloConfig(t)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o, want 600", info.Mode().Perm())
	}
	if load(t, file).CurrentContext != "matryoshka_demo_hello" {
		t.Error("the file does not hold the kubeconfig")
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files in the folder (%v), want one", len(left), err)
	}
	if err := WriteFile(filepath.Join(t.TempDir(), "absent", "file"), helloConfig(t)); err == nil {
		t.Error("wrote into a folder that does not exist")
	}
}

func load(t *testing.T, file string) *clientcmdapi.Config {
	t.Helper()
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return config
}
