package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// matry runs the CLI as the program does, on a machine without any cluster.
func matry(t *testing.T, args ...string) (stdout, stderr string, code exit.Code) {
	t.Helper()
	t.Setenv("KUBECONFIG", "/dev/null")
	t.Setenv("MATRYOSHKA_DATA_DIR", t.TempDir())
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut}
	code = exit.Code(Main(t.Context(), append([]string{"matry"}, args...), streams))
	return out.String(), errOut.String(), code
}

func TestBadInput(t *testing.T) {
	cases := map[string]struct {
		args string
		code exit.Code
		says []string
	}{
		"unknown command":       {"upp", exit.Usage, []string{`"upp"`, `did you mean "up"`}},
		"unknown help topic":    {"help turnips", exit.Usage, []string{"turnips", "matry --help"}},
		"unknown help of noun":  {"help get turnips", exit.Usage, []string{"get turnips"}},
		"unknown shell":         {"completion tcsh", exit.Usage, []string{"tcsh", "bash"}},
		"bad verbosity":         {"get vc -v loud", exit.Usage, []string{"loud"}},
		"unknown noun":          {"get turnips", exit.Usage, []string{"turnips", "virtualclusters"}},
		"unknown flag":          {"get vc --nonsense", exit.Usage, []string{"--nonsense", "matry get virtualclusters --help"}},
		"flag at the wrong end": {"get --nonsense vc", exit.Usage, []string{"--nonsense"}},
		"no name":               {"create vc", exit.Usage, []string{"NAME"}},
		"two names":             {"create vc a b", exit.Usage, []string{"a b"}},
		"too long a name":       {"create vc " + strings.Repeat("x", 51), exit.Usage, []string{"51", "50"}},
		"no DNS label":          {"create vc Bad_Name", exit.Usage, []string{"Bad_Name", "bad-name"}},
		"unknown store":         {"create vc a --store stone", exit.Usage, []string{"stone", "sqlite"}},
		"bad size":              {"create vc a --store-size big", exit.Usage, []string{"--store-size", "big", "1Gi"}},
		"bad dry run":           {"create vc a --dry-run maybe", exit.Usage, []string{"maybe", "client"}},
		"unknown format":        {"get vc -o papyrus", exit.Usage, []string{"papyrus", "json"}},
		"name and all":          {"get vc a -A", exit.Usage, []string{"-A"}},
		"bad selector":          {"get vc -l =", exit.Usage, []string{"-l"}},
		"name and selector":     {"get spaces a -l x=y", exit.Usage, []string{"-l"}},
		"group without user":    {"get spaces --as-group devs --kubeconfig /dev/null", exit.Usage, []string{"--as-group", "--as"}},
		"negative limit":        {"create account shop --spaces -1", exit.Usage, []string{"--spaces", "-1", "0 to 10000"}},
		"limit is no number":    {"create account shop --virtual-clusters many", exit.Usage, []string{"--virtual-clusters", "many", "not a number"}},
		"bad service account":   {"create account shop --service-account bot", exit.Usage, []string{"bot", "NAMESPACE:NAME"}},
		"bad pod security":      {"create account shop --pod-security loose", exit.Usage, []string{"loose", "baseline"}},
		"quota of nobody":       {"create aq shop --hard pods=1", exit.Usage, []string{"--account"}},
		"quota of nothing":      {"create aq shop --account shop", exit.Usage, []string{"--hard"}},
		"wrong unit":            {"create aq shop --account shop --hard requests.memory=4GB", exit.Usage, []string{"requests.memory", "4GB", "4Gi"}},
		"unknown resource":      {"create aq shop --account shop --hard request.cpu=4", exit.Usage, []string{"request.cpu", `"requests.cpu"`}},
		"negative amount":       {"create aq shop --account shop --hard pods=-5", exit.Usage, []string{"pods", "-5", "negative"}},
		"half a pod":            {"create aq shop --account shop --hard pods=500m", exit.Usage, []string{"pods", "500m", "whole"}},
		"template of no flags":  {"create template web", exit.Usage, []string{"-f FILE"}},
		"parameter of nothing":  {"create space web --parameter a=b", exit.Usage, []string{"--template"}},
		"sleep before now":      {"create space web --sleep-after -5m", exit.Usage, []string{"--sleep-after"}},
		"instance of nothing":   {"create ti web", exit.Usage, []string{"--template"}},
		"too long for its kind": {"edit ti " + strings.Repeat("x", 54), exit.Usage, []string{"54", "53"}},
		"file and name":         {"create space web -f x.yaml", exit.Usage, []string{"-f"}},
		"file and flag":         {"create space -f x.yaml --account shop", exit.Usage, []string{"--account", "-f"}},
		"no file":               {"create space -f /no/such", exit.Usage, []string{"/no/such"}},
		"edit without name":     {"edit account", exit.Usage, []string{"NAME"}},
		"dry run of nobody":     {"delete space web --dry-run client", exit.Usage, []string{"client", "server"}},
		"access of nobody":      {"explain-access anna create", exit.Usage, []string{"matry explain-access anna create pods -n web"}},
		"access as a table":     {"explain-access anna get pods -o wide", exit.Usage, []string{"wide", "json"}},
		"top of two":            {"top account a b", exit.Usage, []string{"a b"}},
		"top of nothing":        {"top spaces", exit.Usage, []string{"spaces", "account"}},
		"no cluster":            {"get vc", exit.NotFound, []string{"matry up", "--kubeconfig"}},
		"no such file":          {"get vc --kubeconfig /no/such", exit.NotFound, []string{"/no/such"}},
		"no command to run":     {"connect vc a --", exit.Usage, []string{"--"}},
		"two ways to connect":   {"connect vc a --print -- true", exit.Usage, []string{"--print"}},
		"lonely set-current":    {"connect vc a --set-current", exit.Usage, []string{"--update-kubeconfig"}},
		"up elsewhere":          {"up --kubeconfig /x", exit.Usage, []string{"matry install"}},
		"down elsewhere":        {"down --context x", exit.Usage, []string{"--data-dir"}},
		"no archive":            {"load image /no/such.tar", exit.Usage, []string{"/no/such.tar"}},
		"bad values":            {"install --set x", exit.Usage, []string{"--set"}},
		"unknown value":         {"install --set frontDoor.colour=red", exit.Usage, []string{"colour", "--print-values"}},
		"no chart":              {"install --chart /no/such", exit.Usage, []string{"--chart", "/no/such"}},
		"stopped host":          {"status -o yaml", exit.NotFound, []string{"Stopped", "matry up"}},
		"bad status format":     {"status -o wide", exit.Usage, []string{"wide"}},
		"bad version format":    {"version --client -o xml", exit.Usage, []string{"xml"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, stderr, code := matry(t, strings.Fields(c.args)...)
			if code != c.code {
				t.Errorf("code %d, want %d", code, c.code)
			}
			for _, word := range c.says {
				if !strings.Contains(stderr, word) {
					t.Errorf("the message does not name %q:\n%s", word, stderr)
				}
			}
			if strings.Contains(stderr, "Usage:") {
				t.Errorf("the message is a dump of the usage:\n%s", stderr)
			}
		})
	}
}

func TestExitCodesAreDocumented(t *testing.T) {
	stdout, _, code := matry(t, "help", "exit-codes")
	if code != exit.OK {
		t.Errorf("code %d", code)
	}
	for _, row := range exit.Table {
		if !strings.Contains(stdout, row.Meaning) {
			t.Errorf("no %q in:\n%s", row.Meaning, stdout)
		}
	}
}

func TestFilesAreChecked(t *testing.T) {
	const quota = "apiVersion: tenancy.matryoshka.dev/v1alpha1\nkind: AccountQuota\nmetadata: {name: shop}\nspec: {account: shop, quota: {hard: {%s}}}\n"
	cases := map[string]struct {
		content string
		says    []string
	}{
		"no YAML":          {"a: b: c", []string{"not YAML"}},
		"nothing":          {"---\n# only a comment\n", []string{"no object"}},
		"another kind":     {"apiVersion: v1\nkind: ConfigMap\n", []string{"ConfigMap", "AccountQuota", "matry kubectl create -f"}},
		"mistyped field":   {strings.ReplaceAll(quota, "account: shop", "acount: shop"), []string{"object 1", "acount"}},
		"field twice":      {strings.ReplaceAll(quota, "{account: shop", "{account: shop, account: blog"), []string{"account"}},
		"wrong unit":       {strings.ReplaceAll(quota, "%s", "requests.cpu: 2 cores"), []string{"spec.quota.hard", "requests.cpu", "2 cores"}},
		"unknown resource": {strings.ReplaceAll(quota, "%s", "pod: 3"), []string{`"pod"`, `"pods"`}},
		"negative amount":  {strings.ReplaceAll(quota, "%s", "pods: -3"), []string{"pods", "-3"}},
		"second object":    {strings.ReplaceAll(quota, "%s", "pods: 3") + "---\n" + strings.ReplaceAll(quota, "%s", "podz: 3"), []string{"object 2", "podz"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "quota.yaml")
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(c.content, "%s", "pods: 1")), 0o600); err != nil {
				t.Fatal(err)
			}
			_, stderr, code := matry(t, "create", "accountquota", "-f", file)
			if code != exit.Usage {
				t.Errorf("code %d, want %d", code, exit.Usage)
			}
			for _, word := range append(c.says, file) {
				if !strings.Contains(stderr, word) {
					t.Errorf("the message does not name %q:\n%s", word, stderr)
				}
			}
		})
	}
}

// Every command that does something has a text, two examples at least, and completes its arguments.
func TestCommandsAreDocumented(t *testing.T) {
	var check func(*cobra.Command)
	seen := 0
	check = func(command *cobra.Command) {
		for _, sub := range command.Commands() {
			check(sub)
		}
		if !command.Runnable() || command.Name() == "help" || strings.HasPrefix(command.CommandPath(), "matry completion") {
			return
		}
		seen++
		if command.Short == "" || strings.HasSuffix(command.Short, ".") {
			t.Errorf("%q: short text %q; want one without a full stop", command.CommandPath(), command.Short)
		}
		if got := strings.Count(command.Example, "\n  # ") + 1; command.HasParent() && command.Args != nil && !command.HasSubCommands() && got < 2 {
			t.Errorf("%q has %d examples, want two at least", command.CommandPath(), got)
		}
		for line := range strings.Lines(command.Example) {
			if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "# ") && !strings.Contains(text, "matry ") {
				t.Errorf("%q: example %q is no command of matry", command.CommandPath(), text)
			}
		}
		if !command.HasSubCommands() && command.ValidArgsFunction == nil && command.Name() != "host" {
			t.Errorf("%q does not say how its arguments are completed", command.CommandPath())
		}
	}
	check(New(genericiooptions.NewTestIOStreamsDiscard()))
	if seen < 15 {
		t.Errorf("%d commands seen: the test looks in the wrong place", seen)
	}
}

func TestHelpIsFound(t *testing.T) {
	for _, args := range []string{"help", "help get", "help get vc", "help kubectl", "completion", "completion bash"} {
		stdout, stderr, code := matry(t, strings.Fields(args)...)
		if code != exit.OK || stdout == "" || stderr != "" {
			t.Errorf("matry %s: code %d, %d bytes on standard output, %q on standard error", args, code, len(stdout), stderr)
		}
	}
}

func TestVersionForScripts(t *testing.T) {
	stdout, stderr, code := matry(t, "version", "--client", "-o", "json")
	if code != exit.OK || stderr != "" {
		t.Fatalf("code %d, %q", code, stderr)
	}
	for _, field := range []string{`"version": "v0.0.0-dev"`, `"kubernetesVersion": "v1.36.3"`} {
		if !strings.Contains(stdout, field) {
			t.Errorf("no %s in %s", field, stdout)
		}
	}
}

func TestCompletions(t *testing.T) {
	cases := map[string]struct {
		args []string
		want string
	}{
		"noun":     {[]string{"get", "virt"}, "virtualclusters\tList virtual clusters, or show some of them\n:4\n"},
		"nouns":    {[]string{"edit", "account"}, "account\tChange an account in your editor\naccountquota\tChange an account quota in your editor\n:4\n"},
		"level":    {[]string{"create", "account", "a", "--pod-security", ""}, "privileged\nbaseline\nrestricted\n:4\n"},
		"store":    {[]string{"create", "vc", "a", "--store", ""}, "sqlite\nmemory\n:4\n"},
		"no names": {[]string{"delete", "vc", ""}, ":4\n"},
		"exists":   {[]string{"status", "-o", ""}, "table\njson\nyaml\n:4\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			stdout, _, _ := matry(t, append([]string{cobra.ShellCompRequestCmd}, c.args...)...)
			if diff := cmp.Diff(c.want, stdout); diff != "" {
				t.Errorf("completions (-want +got):\n%s", diff)
			}
		})
	}
}
