package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const report = `[{"SpecReports":[
{"ContainerHierarchyTexts":["[sig-node] Pods"],"LeafNodeType":"It","LeafNodeText":"should run | stay [NodeConformance] [Conformance]","State":"passed"},
{"ContainerHierarchyTexts":["[sig-apps] Job"],"LeafNodeType":"It","LeafNodeText":"should end [Conformance]","State":"failed","Failure":{"Message":"it did\n not"}},
{"ContainerHierarchyTexts":["[sig-apps] Job"],"LeafNodeType":"It","LeafNodeText":"is out of focus","State":"skipped"},
{"ContainerHierarchyTexts":["[sig-apps] Job"],"LeafNodeType":"It","LeafNodeText":"was ended by somebody","State":"interrupted"},
{"LeafNodeType":"ReportAfterSuite","State":"passed"}
]}]`

func TestRunKeepsWhatOtherRunsFound(t *testing.T) {
	document := filepath.Join(t.TempDir(), "conformance.md")
	before := "# Text\n\n| test | reason |\n|---|---|\n| [sig-apps] Job should end | isolation |\n\n" + begin + "\n\n| test | host | default |\n|---|---|---|\n" +
		"| [sig-apps] Job should end | pass | pass |\n| [sig-auth] Other | FAIL | - |\n\n" + end + "\nmore\n"
	json := filepath.Join(t.TempDir(), "report.json")
	for file, content := range map[string]string{document: before, json: report} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := run(&out, document, []string{"default=" + json}); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Text\n\n| test | reason |\n|---|---|\n| [sig-apps] Job should end | isolation |\n\n" + begin +
		"\n\n- `host`: 1 of 2 passed\n- `default`: 1 of 2 passed\n- `conformance`: 0 of 0 passed\n\n" +
		"| test | host | default | conformance |\n|---|---|---|---|\n" +
		"| [sig-apps] Job should end | pass | FAIL | - |\n| [sig-auth] Other | FAIL | - | - |\n" +
		"| [sig-node] Pods should run / stay | - | pass | - |\n\n" + end + "\nmore\n"
	if diff := cmp.Diff(want, string(after)); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
	said := "default\tFAIL\t[sig-apps] Job should end\n\tfailed: it did not\n" +
		"default\tpass\t[sig-node] Pods should run / stay\ndefault: 1 of 2 passed\n"
	if diff := cmp.Diff(said, out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

func TestRunWithoutTestsIsAnError(t *testing.T) {
	document, json := filepath.Join(t.TempDir(), "a.md"), filepath.Join(t.TempDir(), "a.json")
	for file, content := range map[string]string{document: begin + end, json: `[{"SpecReports":[]}]`} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(&bytes.Buffer{}, document, []string{"host=" + json}); err == nil {
		t.Error("a run of no test is reported as a success")
	}
	broken := `[{"SpecReports":[{"LeafNodeType":"SynchronizedBeforeSuite","State":"failed"}]}]`
	if err := os.WriteFile(json, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(&bytes.Buffer{}, document, []string{"host=" + json}); err == nil || !strings.Contains(err.Error(), "could not begin") {
		t.Errorf("a suite that could not begin: error %v", err)
	}
	if err := run(&bytes.Buffer{}, document, []string{"other=" + json}); err == nil {
		t.Error("an unknown profile is accepted")
	}
}

// TestRunAsksForReasons: a failure that nobody has explained is an error, and in profile conformance any that the host has not.
func TestRunAsksForReasons(t *testing.T) {
	for name, tc := range map[string]struct{ text, profile, want string }{
		"no reason":            {"", "default", "[sig-apps] Job should end"},
		"a reason":             {"| [sig-apps] Job should end | isolation |\n", "default", ""},
		"a reason of another":  {"| [sig-apps] Job should begin | isolation |\n", "default", "[sig-apps] Job should end"},
		"none for conformance": {"| [sig-apps] Job should end | isolation |\n", "conformance", "[sig-apps] Job should end"},
		"the host's own":       {"| [sig-apps] Job should end | one node |\n", "host", ""},
		"the host's, in conformance": {
			"| [sig-apps] Job should end | one node |\n" + begin + "\n| test | host |\n| [sig-apps] Job should end | FAIL |\n" + end, "conformance", "",
		},
		"a verdict is no explanation": {begin + "\n| test | host |\n| [sig-apps] Job should end | FAIL |\n" + end, "default", "[sig-apps] Job should end"},
	} {
		t.Run(name, func(t *testing.T) {
			document, json := filepath.Join(t.TempDir(), "a.md"), filepath.Join(t.TempDir(), "a.json")
			text := tc.text
			if !strings.Contains(text, begin) {
				text += begin + "\n" + end
			}
			for file, content := range map[string]string{document: text, json: report} {
				if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := run(&bytes.Buffer{}, document, []string{tc.profile + "=" + json})
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
			after, readErr := os.ReadFile(document)
			if readErr != nil || !strings.Contains(string(after), "| [sig-node] Pods should run / stay |") {
				t.Errorf("the verdicts are not kept: %v\n%s", readErr, after)
			}
		})
	}
}
