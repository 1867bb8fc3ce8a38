package kubectl

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// asKubectl makes the test program kubectl itself, which ends the process on errors.
const asKubectl = "MATRY_TEST_AS_KUBECTL"

func TestMain(m *testing.M) {
	if os.Getenv(asKubectl) != "" {
		Run(os.Args[1:])
		return
	}
	os.Exit(m.Run())
}

func TestKubeconfigOfADeletedVirtualCluster(t *testing.T) {
	stderr := failedKubectl(t, frontDoorWithoutClusters(t))
	for _, said := range []string{"unrecognized name", "was deleted", "matry get virtualclusters -A"} {
		if !strings.Contains(stderr, said) {
			t.Errorf("the message does not say %q:\n%s", said, stderr)
		}
	}
}

func TestNoClusterWasChosen(t *testing.T) {
	const said = "The connection to the server localhost:8080 was refused - did you specify the right host or port?"
	if next := nextAfter(said); !strings.Contains(next, "matry up") {
		t.Errorf("next is %q, want what starts a cluster", next)
	}
	if next := nextAfter(`Error from server (NotFound): pods "x" not found`); next != "" {
		t.Errorf("next is %q, want nothing: kubectl has said it all", next)
	}
}

// failedKubectl runs kubectl with a kubeconfig and returns what it says when it has failed.
func failedKubectl(t *testing.T, kubeconfig string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "get", "pods")
	cmd.Env = []string{asKubectl + "=1", "KUBECONFIG=" + kubeconfig, "HOME=" + t.TempDir()}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != 1 || stdout.Len() > 0 {
		t.Fatalf("kubectl: %v, want exit code 1 and nothing on standard output\n%s%s", err, &stdout, &stderr)
	}
	return stderr.String()
}

// frontDoorWithoutClusters refuses every connection as the front door refuses unknown names. It returns a kubeconfig for
// it, and ends with the test.
func frontDoorWithoutClusters(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { listener.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			// The header of a record, the length of its content, and the content: the client's hello.
			header := make([]byte, 5)
			if _, err := io.ReadFull(conn, header); err == nil {
				_, _ = io.CopyN(io.Discard, conn, int64(header[3])<<8|int64(header[4]))
			}
			_, _ = conn.Write([]byte{21, 3, 1, 0, 2, 2, 112}) // The fatal alert unrecognized_name.
			conn.Close()
		}
	}()
	config := clientcmdapi.NewConfig()
	config.Clusters["gone"] = &clientcmdapi.Cluster{Server: "https://" + listener.Addr().String(), TLSServerName: "x7k2p3q4.vc.matryoshka.internal"}
	config.AuthInfos["gone"] = &clientcmdapi.AuthInfo{Token: "unused"}
	config.Contexts["gone"] = &clientcmdapi.Context{Cluster: "gone", AuthInfo: "gone"}
	config.CurrentContext = "gone"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}
