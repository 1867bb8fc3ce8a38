package repotest

import (
	"os"
	"strings"
	"testing"
)

// maxClientSize is the budget of the command line program: people download it.
const maxClientSize = 80 << 20

// The programs report the versions that they were built with, on both sides.
func TestProgramsAreStamped(t *testing.T) {
	version := strings.TrimSpace(run(t, "go", "list", "-m", "-f", "{{.Version}}", kubernetes))
	if got := run(t, "bin/matry", "kubectl", "version", "--client"); !strings.Contains(got, version) {
		t.Errorf("bin/matry kubectl version --client does not report %s:\n%s", version, got)
	}
	if got := run(t, "bin/matryd", "--version"); !strings.HasPrefix(got, "matryd version v") {
		t.Errorf("bin/matryd --version prints %q", got)
	}
}

func TestClientIsSmall(t *testing.T) {
	info, err := os.Stat(path("bin/matry"))
	if err != nil {
		t.Fatalf("build it first (make build): %v", err)
	}
	if info.Size() > maxClientSize {
		t.Errorf("bin/matry has %d MiB, the budget is %d MiB", info.Size()>>20, maxClientSize>>20)
	}
}

func TestClientImportsNoServerCode(t *testing.T) {
	server := []string{
		kubernetes + "/",
		"k8s.io/apiserver/pkg/server",
		"k8s.io/kube-aggregator",
		"k8s.io/apiextensions-apiserver/pkg/apiserver",
		"github.com/k3s-io/kine",
		"github.com/coredns/coredns",
		"go.etcd.io/etcd/server",
	}
	for imported := range strings.FieldsSeq(run(t, "go", "list", "-deps", "./cmd/matry")) {
		for _, prefix := range server {
			if strings.HasPrefix(imported, prefix) {
				t.Errorf("cmd/matry imports %s: it is a client, and server code makes it large", imported)
			}
		}
	}
}
