// Package integration tests matry against real API servers: what it sends, what it waits for, and what it says of their
// answers. The test plays the agent, by writing the status that an agent would write.
package integration

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
)

// host is a host cluster and a kubeconfig that leads to it.
type host struct {
	client     client.WithWatch
	config     *rest.Config
	kubeconfig string
}

func newHost(t *testing.T, config *rest.Config) *host {
	t.Helper()
	// Our own types have no protobuf form.
	config = rest.CopyConfig(config)
	config.ContentType, config.AcceptContentTypes = "", ""
	hostClient, err := hostcluster.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, kubeconfigOf(t, config), 0o600); err != nil {
		t.Fatal(err)
	}
	return &host{client: hostClient, config: config, kubeconfig: file}
}

func kubeconfigOf(t *testing.T, config *rest.Config) []byte {
	t.Helper()
	result := clientcmdapi.NewConfig()
	result.Clusters["c"] = &clientcmdapi.Cluster{
		Server: config.Host, CertificateAuthorityData: config.CAData, CertificateAuthority: config.CAFile, TLSServerName: config.ServerName,
	}
	result.AuthInfos["u"] = &clientcmdapi.AuthInfo{
		Token: config.BearerToken, ClientCertificateData: config.CertData, ClientKeyData: config.KeyData,
		ClientCertificate: config.CertFile, ClientKey: config.KeyFile,
	}
	result.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	result.CurrentContext = "x"
	content, err := clientcmd.Write(*result)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// result is how a command ended.
type result struct {
	stdout, stderr string
	code           exit.Code
}

// matry runs the CLI as the program does.
func (h *host) matry(t *testing.T, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut}
	code := cli.Main(t.Context(), append([]string{"matry", "--kubeconfig", h.kubeconfig}, args...), streams)
	return result{stdout: out.String(), stderr: errOut.String(), code: exit.Code(code)}
}

// must runs the CLI and ends the test when it fails.
func (h *host) must(t *testing.T, args ...string) result {
	t.Helper()
	ended := h.matry(t, args...)
	if ended.code != exit.OK {
		t.Fatalf("matry %s: code %d\n%s%s", strings.Join(args, " "), ended.code, ended.stdout, ended.stderr)
	}
	return ended
}

// fails runs the CLI and checks how it fails.
func (h *host) fails(t *testing.T, code exit.Code, says []string, args ...string) {
	t.Helper()
	ended := h.matry(t, args...)
	if ended.code != code {
		t.Errorf("matry %s: code %d, want %d\n%s", strings.Join(args, " "), ended.code, code, ended.stderr)
	}
	if ended.stdout != "" {
		t.Errorf("matry %s: an error goes to standard error; standard output has %q", strings.Join(args, " "), ended.stdout)
	}
	for _, word := range says {
		if !strings.Contains(ended.stderr, word) {
			t.Errorf("matry %s: the message does not name %q:\n%s", strings.Join(args, " "), word, ended.stderr)
		}
	}
}

// eventually waits until a check is true.
func (h *host) eventually(t *testing.T, check func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 90*time.Second, true, func(context.Context) (bool, error) { return check(), nil })
	if err != nil {
		t.Fatalf("it is not so: %v", err)
	}
}
