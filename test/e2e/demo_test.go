package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func demo(t *testing.T) *tenant {
	t.Helper()
	return openTenant(t, shared, "demo", "hello", func() error { return nil })
}

// What `matry up --demo` promises: an app inside a virtual cluster, deployed with the tenant's own kubeconfig, that answers.
func TestDemoAnswers(t *testing.T) {
	hello := demo(t)
	deployments, err := hello.client.AppsV1().Deployments("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(deployments.Items) != 1 {
		t.Fatalf("the virtual cluster has %d deployments in namespace default; want the demo", len(deployments.Items))
	}
	name := deployments.Items[0].Name
	hello.deploymentReady(t, "default", name)

	services, err := hello.client.CoreV1().Services("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, service := range services.Items {
		if service.Name == "kubernetes" {
			continue
		}
		asked++
		answer := hello.mustKubectl(t, "get", "--raw", fmt.Sprintf("/api/v1/namespaces/default/services/%s:%d/proxy/", service.Name, service.Spec.Ports[0].Port))
		if !strings.Contains(answer, name) {
			t.Errorf("service %q answers %q, which does not name a pod of %q", service.Name, answer, name)
		}
	}
	if asked == 0 {
		t.Error("the demo has no Service")
	}
}

// `matry up` says at the end what to do next. The command that it names works, also where no kubectl is installed.
func TestConnectRunsKubectl(t *testing.T) {
	folders := map[string]string{"kubectl is installed": folderWithKubectl(t), "kubectl is not installed": t.TempDir()}
	for name, folder := range folders {
		t.Run(name, func(t *testing.T) {
			cmd := shared.command(t.Context(), "connect", "vc", "hello", "-n", "demo", "--", "kubectl", "get", "pods", "-A")
			cmd.Env = append(cmd.Env, "PATH="+folder)
			seen := run(t.Context(), cmd)
			if seen.err != nil {
				t.Fatal(seen.err)
			}
			if !strings.Contains(seen.stdout, "Running") || strings.Contains(seen.stdout, "matryoshka-agent") {
				t.Errorf("want the tenant's pods and none of the host's; got\n%s", seen.stdout)
			}
		})
	}
}

// folderWithKubectl makes a folder whose only program is a kubectl.
func folderWithKubectl(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	script := "#!/bin/sh\nexec " + matryProgram + " kubectl \"$@\"\n"
	if err := os.WriteFile(filepath.Join(folder, "kubectl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

// The exit code of the command is that of connect.
func TestConnectPassesTheExitCodeOn(t *testing.T) {
	seen := shared.matry(t.Context(), "connect", "vc", "hello", "-n", "demo", "--", "sh", "-c", "test -n \"$KUBECONFIG\" && exit 7")
	if seen.code != 7 {
		t.Errorf("exit code %d, want 7: %v", seen.code, seen.err)
	}
}

func TestKubectlReachesTheHost(t *testing.T) {
	got := shared.mustMatry(t, "kubectl", "get", "virtualclusters", "-A", "-o", "name")
	if !strings.Contains(got, "hello") {
		t.Errorf("kubectl get virtualclusters prints %q, want hello in it", got)
	}
}

// A second `matry up` changes nothing and says so by succeeding.
func TestUpIsIdempotent(t *testing.T) {
	before := shared.mustMatry(t, "kubectl", "get", "node,deployment,virtualcluster", "-A", "-o", "jsonpath={range .items[*]}{.metadata.uid} {end}")
	if _, err := shared.up(context.WithoutCancel(t.Context()), "--demo"); err != nil {
		t.Fatal(err)
	}
	after := shared.mustMatry(t, "kubectl", "get", "node,deployment,virtualcluster", "-A", "-o", "jsonpath={range .items[*]}{.metadata.uid} {end}")
	if before != after {
		t.Errorf("a second up changed the objects: %s, before %s", after, before)
	}
}

// Any kubectl works with the tenant's kubeconfig, not only the one that is built in.
func TestKubeconfigWorksWithKubectlOfTheMachine(t *testing.T) {
	program, err := exec.LookPath("kubectl")
	if err != nil {
		program = filepath.Join(folderWithKubectl(t), "kubectl")
	}
	hello := demo(t)
	out, err := exec.CommandContext(t.Context(), program, "--kubeconfig", hello.kubeconfig, "get", "--raw", "/readyz").CombinedOutput()
	if err != nil || string(out) != "ok" {
		t.Errorf("%s get --raw /readyz: %v: %s", program, err, out)
	}
}
