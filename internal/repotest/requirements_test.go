package repotest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// machine is a folder of programs that stands for a machine: nothing else is on the PATH.
type machine struct {
	programs string
	calls    string
}

// newMachine is a Linux machine with everything that the targets need, and an apt that only notes how it is called.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{programs: t.TempDir(), calls: filepath.Join(t.TempDir(), "calls")}
	for _, name := range []string{"bash", "dirname", "sed", "sort", "head", "grep", "touch", "chmod"} {
		found, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(found, filepath.Join(m.programs, name)); err != nil {
			t.Fatal(err)
		}
	}
	m.put(t, "uname", "echo Linux")
	m.put(t, "id", "echo 0")
	m.put(t, "go", "echo go1.99.0")
	m.put(t, "apt-get", `echo "$1" >>`+m.calls)
	for _, name := range []string{"nft", "mount", "gcc", "pkg-config"} {
		m.put(t, name, "")
	}
	return m
}

func (m *machine) put(t *testing.T, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.programs, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) remove(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(m.programs, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// check runs hack/requirements.sh on the machine and returns what it says, and whether it passes.
func (m *machine) check(t *testing.T, environment ...string) (said string, passes bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(m.programs, "bash"), "hack/requirements.sh", "go", "root", "packages")
	cmd.Dir, cmd.Env = root, append(environment, "PATH="+m.programs)
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return string(out), err == nil
}

// What a machine lacks is named with its remedy, before anything is built.
func TestRequirementsAreNamed(t *testing.T) {
	cases := map[string]struct {
		change      func(*testing.T, *machine)
		environment []string
		says        []string
	}{
		"not Linux":       {func(t *testing.T, m *machine) { m.put(t, "uname", "echo Darwin") }, nil, []string{"Linux", "Darwin"}},
		"not root":        {func(t *testing.T, m *machine) { m.put(t, "id", "echo 1000") }, nil, []string{"root", "sudo make"}},
		"no Go":           {func(t *testing.T, m *machine) { m.remove(t, "go") }, nil, []string{"Go 1.26", "go.dev/dl"}},
		"no Go by sudo":   {func(t *testing.T, m *machine) { m.remove(t, "go") }, []string{"SUDO_USER=you"}, []string{"sudo env"}},
		"an old Go":       {func(t *testing.T, m *machine) { m.put(t, "go", "echo go1.20.3") }, nil, []string{"Go 1.26", "1.20.3"}},
		"no apt":          {func(t *testing.T, m *machine) { m.remove(t, "apt-get", "nft") }, nil, []string{"no apt", "nftables"}},
		"apt cannot help": {func(t *testing.T, m *machine) { m.remove(t, "nft"); m.put(t, "apt-get", "exit 100") }, nil, []string{"apt-get", "nftables"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			c.change(t, m)
			said, passes := m.check(t, c.environment...)
			if passes {
				t.Errorf("passes, and says %q", said)
			}
			for _, word := range c.says {
				if !strings.Contains(said, word) {
					t.Errorf("does not name %q:\n%s", word, said)
				}
			}
		})
	}
}

func TestRequirementsAreInstalled(t *testing.T) {
	m := newMachine(t)
	// What is no program is that of the real machine, which may lack it.
	if said, passes := m.check(t); !passes || strings.Contains(said, "nftables") || strings.Contains(said, "gcc") {
		t.Errorf("a machine that has all programs: passes %t, says %q", passes, said)
	}
	if err := os.RemoveAll(m.calls); err != nil {
		t.Fatal(err)
	}

	// As on a new machine: there is nothing to install from before the list of packages was fetched.
	m.remove(t, "nft")
	nft, fetched := filepath.Join(m.programs, "nft"), filepath.Join(t.TempDir(), "fetched")
	m.put(t, "apt-get", `echo "$1" >>`+m.calls+`
case $1 in
update) touch `+fetched+` ;;
install) [ -e `+fetched+` ] && touch `+nft+` && chmod +x `+nft+` ;;
esac`)
	if said, passes := m.check(t); !passes {
		t.Errorf("fails:\n%s", said)
	}
	calls, err := os.ReadFile(m.calls)
	if err != nil {
		t.Fatal(err)
	}
	if want := "install\nupdate\ninstall\n"; string(calls) != want {
		t.Errorf("apt-get was called with %q, want %q", calls, want)
	}
}
