package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"
)

var consoleBlock = regexp.MustCompile("(?ms)^```console\n(.*?)\n```")

// The commands of the user's documentation run as they stand there, one after the other, on a virtual cluster of their own.
func TestUserDocumentationRuns(t *testing.T) {
	t.Parallel()
	// Whoever follows the documents has the folder of matry on the PATH, and files of their own.
	home := homeWithMatry(t)
	// One of the commands shows what the host's metrics server has measured, and its first two measurements take a moment.
	metrics := metricsclient.NewForConfigOrDie(shared.config(t)).MetricsV1beta1()
	eventually(t, metricsTimeout, func(ctx context.Context) error {
		measured, err := metrics.NodeMetricses().List(ctx, metav1.ListOptions{})
		if err == nil && len(measured.Items) == 0 {
			err = errors.New("no node has been measured")
		}
		return err
	})
	commands := append(consoleCommands(t, "virtual-clusters.md"), consoleCommands(t, "connecting.md")...)
	commands = append(commands, consoleCommands(t, "sleep.md")...)
	// The documents delete what they have created; connecting to it comes before.
	commands = lastOf(commands, "matry delete")
	for _, shown := range commands {
		line := strings.ReplaceAll(shown, "-n demo", "-n documents")
		cmd := shared.command(t.Context())
		shell, err := exec.LookPath("sh")
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Args, cmd.Dir = shell, []string{"sh", "-c", line}, home
		cmd.Env = append(cmd.Env, "HOME="+home, "PATH="+home+":"+os.Getenv("PATH"))
		if seen := run(t.Context(), cmd); seen.err != nil {
			t.Errorf("%s: %v", shown, seen.err)
		}
		if strings.HasPrefix(shown, "matry create ") { // it is usable at once; its nodes come with the sync, a moment later
			shared.awaitOutput(t, "node/matryoshka", "connect", "virtualcluster", "hello", "-n", "documents", "--", "kubectl", "get", "nodes", "-o", "name")
		}
	}
}

// homeWithMatry makes a folder with a matry that waits as long as other tests do for what takes long on a busy machine. Everything
// else it passes on as it is.
func homeWithMatry(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	script := `#!/bin/sh
case "$1 $2" in "create virtualcluster" | "create space" | "delete "* | "sleep "* | "wake "* | "renew "*) set -- "$@" --timeout 10m ;; esac
exec '` + matryProgram + `' "$@"
`
	// What other tests start meanwhile must not inherit the open file: Linux runs no program that somebody can still write to.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(filepath.Join(home, "matry"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return home
}

// consoleCommands are the lines of console blocks that begin with "$ ".
func consoleCommands(t *testing.T, document string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "user", document))
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, block := range consoleBlock.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				commands = append(commands, strings.TrimSpace(command))
			}
		}
	}
	if len(commands) == 0 {
		t.Fatalf("%s shows no command", document)
	}
	return commands
}

// lastOf moves the commands with this beginning to the end.
func lastOf(commands []string, prefix string) []string {
	var first, last []string
	for _, command := range commands {
		if strings.HasPrefix(command, prefix) {
			last = append(last, command)
		} else {
			first = append(first, command)
		}
	}
	return append(first, last...)
}
