package e2e

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// What a person gets wrong is answered by an error that names the thing, its value and the remedy.
func TestBadInputOfTheCommandLine(t *testing.T) {
	before := shared.mustMatry(t, "kubectl", "get", "virtualclusters", "-A", "-o", "name")
	long := strings.Repeat("x", 60)
	cases := map[string]struct {
		args []string
		code int
		says []string
	}{
		"unknown flag":       {[]string{"up", "--nonsense"}, 2, []string{"--nonsense"}},
		"unknown command":    {[]string{"upp"}, 2, []string{"upp"}},
		"unknown format":     {[]string{"get", "vc", "-n", "demo", "-o", "papyrus"}, 2, []string{"papyrus", "json"}},
		"no name":            {[]string{"create", "vc", "-n", "demo"}, 2, []string{"NAME"}},
		"name too long":      {[]string{"create", "vc", long, "-n", "demo"}, 0, []string{"50"}},
		"name no DNS label":  {[]string{"create", "vc", "Bad_Name", "-n", "demo"}, 0, []string{"Bad_Name"}},
		"second of one name": {[]string{"create", "vc", "hello", "-n", "demo"}, 0, []string{"hello", "already exists"}},
		"get what is not":    {[]string{"get", "vc", "nobody", "-n", "demo"}, 3, []string{"nobody"}},
		"delete what is not": {[]string{"delete", "vc", "nobody", "-n", "demo"}, 3, []string{"nobody"}},
		"connect to nothing": {[]string{"connect", "vc", "nobody", "-n", "demo", "--", "true"}, 3, []string{"nobody"}},
		"no namespace":       {[]string{"create", "vc", "x", "-n", "not-there"}, 0, []string{"not-there"}},
	}
	for name, bad := range cases {
		t.Run(name, func(t *testing.T) {
			seen := shared.matry(t.Context(), bad.args...)
			if seen.code == 0 || (bad.code != 0 && seen.code != bad.code) {
				t.Errorf("exit code %d, want %d (0: any but 0)", seen.code, bad.code)
			}
			if seen.stdout != "" {
				t.Errorf("an error goes to standard error; standard output has %q", seen.stdout)
			}
			for _, word := range bad.says {
				if !strings.Contains(seen.stderr, word) {
					t.Errorf("the message does not name %q:\n%s", word, seen.stderr)
				}
			}
		})
	}
	if after := shared.mustMatry(t, "kubectl", "get", "virtualclusters", "-A", "-o", "name"); after != before {
		t.Errorf("the virtual clusters have changed: %q, before %q", after, before)
	}
}

func TestBadVirtualClusterIsRefused(t *testing.T) {
	const head = "apiVersion: cluster.matryoshka.dev/v1alpha1\nkind: VirtualCluster\nmetadata: {name: bad, namespace: demo}\nspec: "
	cases := map[string]struct {
		spec string
		says []string
	}{
		"unknown Kubernetes version": {"{kubernetesVersion: v1.20.0}", []string{"spec.kubernetesVersion", "v1.36.3"}},
		"unknown store":              {"{store: {type: stone}}", []string{"spec.store.type", "stone", "sqlite"}},
		"replicas of sqlite":         {"{replicas: 3}", []string{"spec.replicas", "sqlite"}},
		"unknown field":              {"{colour: green}", []string{"colour"}},
		"unknown pod security":       {"{podSecurity: lax}", []string{"spec.podSecurity", "lax", "baseline"}},
	}
	for name, bad := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "bad.yaml")
			if err := os.WriteFile(file, []byte(head+bad.spec), 0o600); err != nil {
				t.Fatal(err)
			}
			seen := shared.matry(t.Context(), "kubectl", "apply", "--validate=strict", "-f", file)
			if seen.code == 0 {
				t.Fatal("accepted")
			}
			for _, word := range bad.says {
				if !strings.Contains(seen.stderr, word) {
					t.Errorf("the message does not name %q:\n%s", word, seen.stderr)
				}
			}
		})
	}
}

func TestUpSaysThatAPortIsInUse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	busy := listener.Addr().(*net.TCPAddr).Port

	h := extraHost(t)
	h.apiPort = busy
	_, err = h.up(t.Context())
	if err == nil {
		t.Fatal("matry up succeeds on a port that is in use")
	}
	for _, word := range []string{strconv.Itoa(busy), "in use", "--api-port"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the message does not name %q: %v", word, err)
		}
	}
	if err := h.leftovers(); err != nil {
		t.Errorf("matry up has failed and left something: %v", err)
	}
	if _, err := os.Stat(h.dataDir); err == nil {
		t.Errorf("matry up has failed and left %s", h.dataDir)
	}
}

// extraHost is a host of one test, removed at its end.
func extraHost(t *testing.T) *host {
	t.Helper()
	h, err := newHost(filepath.Join(filepath.Dir(shared.dataDir), strings.ToLower(t.Name())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the host's log:\n%s", h.endOfLog())
		}
		if err := h.down(context.Background(), "--purge"); err != nil {
			t.Errorf("stop the extra host: %v", err)
		}
	})
	return h
}

func TestUpSaysThatItNeedsRoot(t *testing.T) {
	// A copy, since nobody may be unable to reach the original.
	program := filepath.Join(t.TempDir(), "matry")
	copyProgram(t, matryProgram, program)
	h := *shared
	h.dataDir = filepath.Join(t.TempDir(), "data")
	cmd := h.command(t.Context(), "up")
	cmd.Path = program
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	seen := run(t.Context(), cmd)
	if seen.code <= 0 || !strings.Contains(seen.stderr, "root") {
		t.Errorf("code %d, %q: want an error that names root: %v", seen.code, seen.stderr, seen.err)
	}
	if _, err := os.Stat(h.dataDir); err == nil {
		t.Errorf("matry up has failed and left %s", h.dataDir)
	}
}

func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	// Every folder above it must be open to others.
	for folder := filepath.Dir(to); folder != filepath.Clean(os.TempDir()) && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(target, source); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}
