package repotest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const kubernetes = "k8s.io/kubernetes"

// Kubernetes requires its staging modules at v0.0.0 and replaces them by folders of its own tree; whoever imports it has to
// pin each of them to the release of the same minor and patch, and nothing else may be replaced.
func TestStagingModulesMatchKubernetes(t *testing.T) {
	ours := readGoMod(t, "go.mod")
	version := ""
	for _, required := range ours.Require {
		if required.Path == kubernetes {
			version = required.Version
		}
	}
	staging, ok := strings.CutPrefix(version, "v1.")
	if !ok {
		t.Fatalf("go.mod requires %s at %q, which is no v1 release", kubernetes, version)
	}
	staging = "v0." + staging

	folder := strings.TrimSpace(run(t, "go", "list", "-m", "-f", "{{.Dir}}", kubernetes))
	theirs := readGoMod(t, filepath.Join(folder, "go.mod"))
	wanted := map[string]bool{}
	for _, required := range theirs.Require {
		if required.Version == "v0.0.0" {
			wanted[required.Path] = true
		}
	}
	if len(wanted) == 0 {
		t.Fatalf("%s/go.mod names no staging module", folder)
	}

	for _, replaced := range ours.Replace {
		if !wanted[replaced.Old.Path] {
			t.Errorf("go.mod replaces %s, which is no staging module of %s %s", replaced.Old.Path, kubernetes, version)
		}
		if replaced.New.Path != replaced.Old.Path || replaced.New.Version != staging {
			t.Errorf("go.mod replaces %s by %s %s; want %s", replaced.Old.Path, replaced.New.Path, replaced.New.Version, staging)
		}
		delete(wanted, replaced.Old.Path)
	}
	for missing := range wanted {
		t.Errorf("go.mod does not replace the staging module %s; want %s", missing, staging)
	}
}

var documentedModule = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")

// Every direct dependency is explained, and nothing is explained that is not used any more.
func TestDependenciesAreDocumented(t *testing.T) {
	text, err := os.ReadFile(path("docs/dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, match := range documentedModule.FindAllStringSubmatch(string(text), -1) {
		documented[match[1]] = true
	}
	for _, required := range readGoMod(t, "go.mod").Require {
		if required.Indirect {
			continue
		}
		if !documented[required.Path] {
			t.Errorf("docs/dependencies.md has no line for %s: say why it is needed, its licence, who maintains it and what would replace it", required.Path)
		}
		delete(documented, required.Path)
	}
	for gone := range documented {
		t.Errorf("docs/dependencies.md explains %s, which go.mod does not require directly", gone)
	}
}
