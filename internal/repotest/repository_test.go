package repotest

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// root is the top folder of the repository; tests run in the folder of their package.
const root = "../.."

// files lists what git tracks, or would track, below the repository, whose name ends in suffix.
func files(t *testing.T, suffix string) []string {
	t.Helper()
	out := run(t, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*"+suffix)
	var found []string
	for name := range strings.SplitSeq(out, "\x00") {
		if name != "" {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		t.Fatalf("no file ends in %q: this test looks in the wrong place", suffix)
	}
	return found
}

// run executes a program in the top folder and returns what it prints.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// path is a file of the repository, as seen from this folder.
func path(name string) string { return filepath.Join(root, filepath.FromSlash(name)) }

type module struct {
	Path, Version string
	Indirect      bool
}

type goMod struct {
	Require []module
	Replace []struct{ Old, New module }
}

// readGoMod parses a go.mod file.
func readGoMod(t *testing.T, file string) goMod {
	t.Helper()
	var parsed goMod
	if err := json.Unmarshal([]byte(run(t, "go", "mod", "edit", "-json", file)), &parsed); err != nil {
		t.Fatalf("parse %s: %v", file, err)
	}
	return parsed
}
