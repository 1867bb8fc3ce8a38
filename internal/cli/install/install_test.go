package install

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/version"
)

func TestBuiltInChartHasTheVersionOfTheBuild(t *testing.T) {
	chart, err := BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	if err := chart.Validate(); err != nil {
		t.Error(err)
	}
	if chart.Metadata.AppVersion != version.Version || "v"+chart.Metadata.Version != version.Version {
		t.Errorf("versions %q and %q, want those of %q", chart.Metadata.Version, chart.Metadata.AppVersion, version.Version)
	}
}

func TestValues(t *testing.T) {
	dir := t.TempDir()
	first, second, broken := filepath.Join(dir, "1"), filepath.Join(dir, "2"), filepath.Join(dir, "3")
	for file, content := range map[string]string{
		first:  "image: {repository: a, tag: one}\nreplicas: 1\n",
		second: "image: {tag: two}\nextra: [1]\n",
		broken: "a: b: c\n",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := commandOptions{files: []string{first, second}, set: []string{"image.pullPolicy=Never", "replicas=3"}}
	got, err := o.values()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"image":    map[string]any{"repository": "a", "tag": "two", "pullPolicy": "Never"},
		"replicas": int64(3),
		"extra":    []any{float64(1)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	for name, bad := range map[string]commandOptions{
		"absent file": {files: []string{filepath.Join(dir, "absent")}},
		"no YAML":     {files: []string{broken}},
		"no value":    {set: []string{"key"}},
	} {
		if _, err := bad.values(); exit.CodeOf(err) != exit.Usage {
			t.Errorf("%s: error %v, want a usage error", name, err)
		}
	}
}

func TestValuesAreHeldAgainstTheChart(t *testing.T) {
	chart, err := BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	good := map[string]any{"agent": map[string]any{"replicas": int64(2)}}
	if err := checkValues(chart, good); err != nil {
		t.Errorf("good values: %v", err)
	}
	for name, bad := range map[string]struct {
		values map[string]any
		says   string
	}{
		"unknown key": {map[string]any{"agnet": map[string]any{}}, "agnet"},
		"bad value":   {map[string]any{"agent": map[string]any{"logLevel": "loud"}}, "/agent/logLevel"},
	} {
		if err := checkValues(chart, bad.values); exit.CodeOf(err) != exit.Usage || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%s: error %v, want a usage error that names %s", name, err, bad.says)
		}
	}
}

func TestPrintedValuesFitTheChart(t *testing.T) {
	chart, err := BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	var printed bytes.Buffer
	if err := printValues(&printed, chart); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, printed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	o := commandOptions{files: []string{file}}
	values, err := o.values()
	if err != nil {
		t.Fatal(err)
	}
	if err := checkValues(chart, values); err != nil || values["frontDoor"] == nil {
		t.Errorf("values %v, error %v; want those of the chart", values, err)
	}
}

func TestTroubleOfAPod(t *testing.T) {
	cases := map[string]struct {
		status corev1.PodStatus
		want   string
	}{
		"fine": {corev1.PodStatus{}, ""},
		"image": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImageNeverPull", Message: "no such image"}}},
		}}, "ErrImageNeverPull: no such image"},
		"crash": {corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{RestartCount: 3, LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2}}},
		}}, "restarted 3 times, ended with exit code 2"},
		"no node": {corev1.PodStatus{Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/1 nodes are available"},
		}}, "0/1 nodes are available"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := troubleOf(&corev1.Pod{Status: c.status}); got != c.want {
				t.Errorf("trouble %q, want %q", got, c.want)
			}
		})
	}
}
