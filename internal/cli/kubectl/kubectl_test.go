package kubectl

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
)

func TestTargetOfKubectl(t *testing.T) {
	dataDir := t.TempDir()
	embedded := filepath.Join(dataDir, "kubeconfig")
	if err := os.WriteFile(embedded, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		target      hostcluster.Target
		environment string
		want        string
	}{
		"embedded host":        {hostcluster.Target{}, "", embedded},
		"environment":          {hostcluster.Target{}, "/vc", "/vc"},
		"flag wins":            {hostcluster.Target{DataDir: dataDir, Kubeconfig: "/flag"}, "/vc", "/flag"},
		"context":              {hostcluster.Target{DataDir: dataDir, Context: "prod"}, "", ""},
		"data folder wins too": {hostcluster.Target{DataDir: dataDir}, "/vc", embedded},
	}
	t.Setenv(hostcluster.DataDirVariable, dataDir)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", c.environment)
			if err := setTarget(&c.target); err != nil {
				t.Fatal(err)
			}
			if got := os.Getenv("KUBECONFIG"); got != c.want {
				t.Errorf("KUBECONFIG=%q, want %q", got, c.want)
			}
		})
	}
	t.Setenv("KUBECONFIG", "/vc")
	if err := setTarget(&hostcluster.Target{DataDir: t.TempDir()}); exit.CodeOf(err) != exit.NotFound || os.Getenv("KUBECONFIG") != "/vc" {
		t.Errorf("a host that was never started: error %v, KUBECONFIG=%q", err, os.Getenv("KUBECONFIG"))
	}
	if diff := cmp.Diff([]string{"--context=prod", "--as=anna", "--as-group=devs", "get", "pods"}, withTarget(&hostcluster.Target{Context: "prod", As: "anna", AsGroups: []string{"devs"}}, []string{"get", "pods"})); diff != "" {
		t.Error(diff)
	}
}

func TestCompletionsAreThoseOfKubectl(t *testing.T) {
	t.Setenv("KUBECONFIG", "/dev/null")
	names, _ := complete(nil, "desc")
	if !slices.ContainsFunc(names, func(name string) bool { return len(name) >= 8 && name[:8] == "describe" }) {
		t.Errorf("completions of \"desc\" are %q, want describe", names)
	}
}

func TestParseCompletions(t *testing.T) {
	cases := map[string]struct {
		answer    string
		names     []string
		directive cobra.ShellCompDirective
	}{
		"names":         {"a\nb\n:4\n", []string{"a", "b"}, cobra.ShellCompDirectiveNoFileComp},
		"none":          {":0\n", []string{}, cobra.ShellCompDirectiveDefault},
		"bad directive": {"a\n:x\n", []string{"a"}, cobra.ShellCompDirectiveError},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			names, directive := parseCompletions(c.answer)
			if diff := cmp.Diff(c.names, names); diff != "" || directive != c.directive {
				t.Errorf("directive %d, want %d; names (-want +got):\n%s", directive, c.directive, diff)
			}
		})
	}
}
