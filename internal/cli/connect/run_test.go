package connect

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

func config() *clientcmdapi.Config {
	c := clientcmdapi.NewConfig()
	c.Clusters["vc"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}
	c.AuthInfos["vc"] = &clientcmdapi.AuthInfo{Token: "t"}
	c.Contexts["vc"] = &clientcmdapi.Context{Cluster: "vc", AuthInfo: "vc"}
	c.CurrentContext = "vc"
	return c
}

func run(t *testing.T, command ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader("input\n"), Out: &out, ErrOut: &out}
	err := runCommand(streams, config(), command)
	return out.String(), err
}

func TestCommandHasAPrivateKubeconfigThatGoesWithIt(t *testing.T) {
	t.Setenv("KUBECONFIG", "/somebody/elses")
	out, err := run(t, "sh", "-c", `echo "$KUBECONFIG"; stat -c %a "$KUBECONFIG" "$(dirname "$KUBECONFIG")"; grep -c 127.0.0.1:1 "$KUBECONFIG"; cat`)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 5 || lines[1] != "600" || lines[2] != "700" || lines[3] != "1" || lines[4] != "input" {
		t.Fatalf("output %q: want the file, modes 600 and 700, one server, and the input", lines)
	}
	if _, err := os.Stat(filepath.Dir(lines[0])); !os.IsNotExist(err) {
		t.Errorf("folder %s is left (%v)", filepath.Dir(lines[0]), err)
	}
}

func TestExitCodeIsTheCommands(t *testing.T) {
	cases := map[string]struct {
		script string
		want   exit.Code
	}{
		"ok":     {"exit 0", 0},
		"code":   {"exit 42", 42},
		"killed": {"kill -KILL $$", 137},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, "sh", "-c", c.script)
			if got := exit.CodeOf(err); got != c.want {
				t.Errorf("code %d, want %d", got, c.want)
			}
			if err != nil && exit.Message(err) != "" {
				t.Errorf("message %q: the command has said what there is to say", exit.Message(err))
			}
		})
	}
}

func TestUnknownCommandIsNamed(t *testing.T) {
	_, err := run(t, "no-such-program")
	if err == nil || !strings.Contains(exit.Message(err), `"no-such-program"`) {
		t.Errorf("error %v, want one that names the program", err)
	}
}

func TestKubectlIsThereWhenNoneIsInstalled(t *testing.T) {
	shell, tools := t.TempDir(), []string{"sh", "readlink"}
	for _, tool := range tools {
		for _, dir := range []string{"/bin", "/usr/bin"} {
			if _, err := os.Stat(filepath.Join(dir, tool)); err == nil {
				if err := os.Symlink(filepath.Join(dir, tool), filepath.Join(shell, tool)); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
	}
	t.Setenv("PATH", shell)
	out, err := run(t, "sh", "-c", "readlink \"$(command -v kubectl)\"")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(out) != self {
		t.Errorf("kubectl is %q, want this program %q", strings.TrimSpace(out), self)
	}

	installed := filepath.Join(shell, "kubectl")
	if err := os.WriteFile(installed, []byte("#!/bin/sh\necho installed\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err = run(t, "kubectl"); err != nil || out != "installed\n" {
		t.Errorf("output %q, error %v: an installed kubectl comes first", out, err)
	}
}
