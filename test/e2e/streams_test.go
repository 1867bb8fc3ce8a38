package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The protocols of streams: kubectl speaks WebSocket first, older clients speak SPDY only.
var protocols = map[string][]string{
	"WebSocket": {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true", "KUBECTL_PORT_FORWARD_WEBSOCKETS=true"},
	"SPDY":      {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false"},
}

func TestLogs(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "logs")
	v.apply(t, namespace, testdata(t, "counter.yaml"))
	eventually(t, startTimeout, func(ctx context.Context) error {
		seen := v.kubectl(ctx, "logs", "-n", namespace, "counter")
		if seen.err == nil && !strings.Contains(seen.stdout, "line 2") {
			return fmt.Errorf("the log has %q, not the second run yet", seen.stdout)
		}
		return seen.err
	})

	if got := v.mustKubectl(t, "logs", "-n", namespace, "counter", "--previous"); got != "first run\n" {
		t.Errorf("the previous log is %q, want that of the first run", got)
	}
	if got := v.mustKubectl(t, "logs", "-n", namespace, "counter", "--tail=1"); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "line ") {
		t.Errorf("--tail=1 prints %q, want one line", got)
	}
	if got := v.mustKubectl(t, "logs", "-n", namespace, "counter", "--since=1h", "--limit-bytes=5"); got != "line " {
		t.Errorf("--limit-bytes=5 prints %q, want the first five", got)
	}
	followed(t, v.kubectlCommand(t.Context(), "logs", "-n", namespace, "counter", "--follow", "--tail=0"))
}

// followed checks that a command prints lines that did not exist when it was started.
func followed(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		for range lines {
			// Read to the end, so that the reader above ends too.
		}
		_ = cmd.Wait()
	}()
	for range 2 {
		select {
		case line, open := <-lines:
			if !open || !strings.HasPrefix(line, "line ") {
				t.Fatalf("followed the log and got %q (still open: %t)", line, open)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("no new line of the followed log within 30 s")
		}
	}
}

func TestExecAndCopy(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "exec")
	v.apply(t, namespace, testdata(t, "shell.yaml"))
	v.podReady(t, namespace, "shell")

	for name, environment := range protocols {
		t.Run(name, func(t *testing.T) {
			kubectl := func(stdin string, args ...string) result {
				cmd := v.kubectlCommand(t.Context(), args...)
				cmd.Env = append(cmd.Env, environment...)
				cmd.Stdin = strings.NewReader(stdin)
				return run(t.Context(), cmd)
			}
			seen := kubectl("to upper case", "exec", "-i", "-n", namespace, "shell", "--", "sh", "-c", "tr a-z A-Z; echo to stderr >&2; exit 5")
			if seen.stdout != "TO UPPER CASE" || !strings.Contains(seen.stderr, "to stderr") || seen.code != 5 {
				t.Errorf("exec gave %q, %q, code %d", seen.stdout, seen.stderr, seen.code)
			}

			// Larger than any buffer on the way.
			content := strings.Repeat("all work and no play\n", 1<<16)
			source := filepath.Join(t.TempDir(), "source")
			if err := os.WriteFile(source, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if seen := kubectl("", "cp", "-n", namespace, source, "shell:/www/copy-"+name); seen.err != nil {
				t.Fatal(seen.err)
			}
			back := source + ".back"
			if seen := kubectl("", "cp", "-n", namespace, "shell:/www/copy-"+name, back); seen.err != nil {
				t.Fatal(seen.err)
			}
			got, err := os.ReadFile(back)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != content {
				t.Errorf("a copied file came back with %d bytes, want %d and the same", len(got), len(content))
			}
		})
	}

	t.Run("a pod that does not exist", func(t *testing.T) {
		if seen := v.kubectl(t.Context(), "exec", "-n", namespace, "nobody", "--", "true"); seen.code == 0 || !strings.Contains(seen.stderr, "not found") {
			t.Errorf("exec into a pod that does not exist: code %d, %q", seen.code, seen.stderr)
		}
	})
}

var forwardedPort = regexp.MustCompile(`127\.0\.0\.1:(\d+) ->`)

func TestPortForward(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "forward")
	v.apply(t, namespace, testdata(t, "shell.yaml"))
	v.podReady(t, namespace, "shell")

	for name, environment := range protocols {
		for _, target := range []string{"pod/shell", "service/shell"} {
			t.Run(name+" to "+target, func(t *testing.T) {
				remote := "8080"
				if strings.HasPrefix(target, "service/") {
					remote = "80"
				}
				cmd := v.kubectlCommand(t.Context(), "port-forward", "-n", namespace, "--address=127.0.0.1", target, ":"+remote)
				cmd.Env = append(cmd.Env, environment...)
				port := startForward(t, cmd)
				// Twice: every connection is a stream of its own.
				for range 2 {
					if got := get(t, "http://127.0.0.1:"+port+"/"); got != "served by shell\n" {
						t.Errorf("the forwarded port answers %q", got)
					}
				}
			})
		}
	}
}

// startForward starts kubectl port-forward, which ends with the test, and returns the port that it chose.
func startForward(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_, _ = io.Copy(io.Discard, output)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("port-forward: %s", stderr.String())
		}
	})
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatalf("port-forward printed %q: %v", line, err)
	}
	match := forwardedPort.FindStringSubmatch(line)
	if match == nil {
		t.Fatalf("port-forward printed %q, which names no port", line)
	}
	return match[1]
}

func get(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
