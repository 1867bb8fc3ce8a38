package embeddedhost

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/image"
	"github.com/matryoshka-dev/matryoshka/internal/version"
)

func TestParseImages(t *testing.T) {
	const table = `REF                                TYPE                                       DIGEST                                                                  SIZE      PLATFORMS   LABELS
matryoshka.dev/pause:v0.1.0        application/vnd.oci.image.manifest.v1+json sha256:0a1b 1.2 MiB   linux/amd64 io.cri-containerd.image=managed
sha256:ff00                        application/vnd.oci.image.manifest.v1+json sha256:0a1b 1.2 MiB   linux/amd64 io.cri-containerd.image=managed
`
	want := map[string]string{"matryoshka.dev/pause:v0.1.0": "sha256:0a1b", "sha256:ff00": "sha256:0a1b"}
	if diff := cmp.Diff(want, parseImages(table)); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
}

func TestOneUpAtATime(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockUp(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockUp(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("second lock: error %v, want one that names the folder", err)
	}
	unlock()
	again, err := lockUp(dir)
	if err != nil {
		t.Fatalf("lock after unlock: %v", err)
	}
	again()
}

func TestStatusOfAHostThatNeverRan(t *testing.T) {
	dir := t.TempDir()
	host, err := hostStatus(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := printStatus(&out, &Status{Host: host}); err != nil {
		t.Fatal(err)
	}
	if host.State != control.Stopped || out.String() != "HOST  Stopped  data in "+host.DataDir+"\n" {
		t.Errorf("state %s, printed %q", host.State, out.String())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("asking for the status made %d files (%v)", len(left), err)
	}
}

func TestPrintStatus(t *testing.T) {
	status := &Status{
		Host:            &HostStatus{State: control.Running, PID: 7, API: "https://127.0.0.1:6443", FrontDoor: "https://127.0.0.1:8443", Egress: "none", DataDir: "/d"},
		Nodes:           []NodeStatus{{Name: "n", Ready: true, KubeletVersion: "v1.36.3", Pods: 9, MaxPods: 500}},
		Deployments:     []DeploymentStatus{{Name: "matryoshka-agent", Pods: 2, AvailablePods: 1, Image: "i:t"}},
		VirtualClusters: []VirtualClusterStatus{{Namespace: "demo", Name: "hello", Ready: true, Reason: "Ready"}},
		Problems:        []string{"no answer"},
	}
	var out bytes.Buffer
	if err := printStatus(&out, status); err != nil {
		t.Fatal(err)
	}
	want := "HOST             Running      process 7, API https://127.0.0.1:6443, front door https://127.0.0.1:8443, egress none, data in /d\n" +
		"NODE             Ready        n, v1.36.3, 9 of 500 pods\n" +
		"AGENT            Unavailable  1 of 2 pods available, i:t\n" +
		"VIRTUAL CLUSTER  Ready        demo/hello: Ready\n" +
		"PROBLEM                       no answer\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestControlPlaneIsRolledOut(t *testing.T) {
	good := func() *appsv1.StatefulSet {
		set := &appsv1.StatefulSet{}
		set.Generation, set.Spec.Replicas = 2, ptr.To[int32](1)
		set.Spec.Template.Spec.Containers = []corev1.Container{{Image: "new"}}
		set.Status = appsv1.StatefulSetStatus{ObservedGeneration: 2, Replicas: 1, UpdatedReplicas: 1}
		return set
	}
	cases := map[string]struct {
		change func(*appsv1.StatefulSet)
		want   bool
	}{
		"done":                 {func(*appsv1.StatefulSet) {}, true},
		"the agent is to come": {func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[0].Image = "old" }, false},
		"not seen yet":         {func(s *appsv1.StatefulSet) { s.Status.ObservedGeneration = 1 }, false},
		"the old pod is there": {func(s *appsv1.StatefulSet) { s.Status.UpdatedReplicas = 0 }, false},
		"one of two":           {func(s *appsv1.StatefulSet) { s.Spec.Replicas = ptr.To[int32](2) }, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			set := good()
			c.change(set)
			if got := isRolledOut(set, "new"); got != c.want {
				t.Errorf("rolled out %t, want %t", got, c.want)
			}
		})
	}
}

func TestTagsChangeWithTheContent(t *testing.T) {
	tag := func(content string) string {
		built, err := image.Build(image.Spec{
			Reference: image.Reference("demo", version.Version), Architecture: "amd64",
			Files: []image.File{{Path: "/demo", Mode: 0o755, Content: []byte(content)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		again, tag, err := retag([]image.Image{built}, "demo")
		if err != nil {
			t.Fatal(err)
		}
		if again.Reference != "matryoshka.dev/demo:"+tag || !strings.HasPrefix(tag, version.Version+"-") {
			t.Errorf("reference %q of tag %q", again.Reference, tag)
		}
		return tag
	}
	one, again, two := tag("one"), tag("one"), tag("two")
	if one == two || one != again {
		t.Error("the tag does not stand for the content")
	}
	if _, _, err := retag(nil, "demo"); err == nil {
		t.Error("found an image where there is none")
	}
}
