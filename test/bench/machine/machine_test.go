package machine

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestDescribeNamesNobody(t *testing.T) {
	text, err := Describe()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, " cores (") || !strings.Contains(text, "GiB of memory, Linux ") {
		t.Errorf("got %q", text)
	}
	if host, err := os.Hostname(); err == nil && strings.Contains(text, host) {
		t.Errorf("%q has the name of this host in it", text)
	}
}

func TestMainVersion(t *testing.T) {
	for release, want := range map[string]string{"6.18.44-some-build": "6.18", "7.0": "7.0", "odd": "unknown"} {
		if got := mainVersion(release); got != want {
			t.Errorf("mainVersion(%q) = %q, want %q", release, got, want)
		}
	}
}

func TestModel(t *testing.T) {
	if got := model("processor\t: 0\nmodel name\t: A CPU\nmodel name\t: A CPU\n"); got != "A CPU" {
		t.Errorf("got %q", got)
	}
}

func TestKibibytes(t *testing.T) {
	const status = "Name:\tmatryd\nVmRSS:\t  200 kB\nRssAnon:\t   120 kB\n"
	if got, err := kibibytes(status, "RssAnon"); err != nil || got != 120 {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := kibibytes(status, "RssFile"); err == nil {
		t.Error("a line that is not there was read")
	}
}

func TestParseTicks(t *testing.T) {
	before, err := parseTicks("cpu  100 0 50 800 50 0 0 0 70 0")
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseTicks("cpu  130 0 70 840 60 0 0 0 90 0")
	if err != nil {
		t.Fatal(err)
	}
	// 50 of 100 ticks were neither idle nor waiting for a disk.
	if got := after.Busy(before); got != 0.5 {
		t.Errorf("got %v, want 0.5", got)
	}
	if got := after.Busy(after); got != 0 {
		t.Errorf("no time has passed, and the machine was %v busy", got)
	}
	if _, err := parseTicks("intr 1 2 3"); err == nil {
		t.Error("another line was read")
	}
}

func TestParseCPU(t *testing.T) {
	const stat = "42 (a (strange) name) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 5 6 7"
	if got, err := parseCPU(stat); err != nil || got != 2*time.Second {
		t.Errorf("got %s, %v; want 2s", got, err)
	}
	if _, err := parseCPU("42 (short) S 1"); err == nil {
		t.Error("a line without the fields was read")
	}
}

func TestCgroupOf(t *testing.T) {
	const text = "4:memory:/a/pod1/c\n1:cpu:/b\n0::/d/pod1/c\n"
	if got, err := cgroupOf(text, "memory"); err != nil || got != "/a/pod1/c" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := cgroupOf(text, ""); err != nil || got != "/d/pod1/c" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := cgroupOf("1:cpu:/b\n", "memory"); err == nil {
		t.Error("a controller that is not there was found")
	}
}

func TestNamesPod(t *testing.T) {
	const uid = "aaaa-bb"
	for text, want := range map[string]bool{
		"4:memory:/kubepods/burstable/podaaaa-bb/c":                true,
		"0::/kubepods.slice/kubepods-podaaaa_bb.slice/cri-c.scope": true,
		"4:memory:/kubepods/burstable/podcccc-dd/c":                false,
	} {
		if got := namesPod(text, uid); got != want {
			t.Errorf("namesPod(%q) = %t", text, got)
		}
	}
}

func TestObserveThisProcess(t *testing.T) {
	uses, err := Observe(t.Context(), 60*time.Millisecond, []Process{{PID: os.Getpid()}})
	if err != nil {
		t.Fatal(err)
	}
	if len(uses) != 1 || uses[0].Private <= 0 {
		t.Errorf("got %+v; a Go program has private memory", uses)
	}
}

func TestOfPodWantsOne(t *testing.T) {
	if got, err := OfPod("no-such-pod", "matryd"); err == nil {
		t.Errorf("found process %d of a pod that does not exist", got.PID)
	}
}

func TestHasVariable(t *testing.T) {
	environment := []byte("A=1\x00HOST=ab\x00B=2\x00")
	for variable, want := range map[string]bool{"HOST=ab": true, "HOST=a": false, "OST=ab": false, "B=2": true} {
		if got := hasVariable(environment, variable); got != want {
			t.Errorf("hasVariable(%q) = %t", variable, got)
		}
	}
}
