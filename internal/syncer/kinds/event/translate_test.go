package event

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

func hostEvent() *corev1.Event {
	first := metav1.NewTime(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "vc-x7k2p3q4-web", Name: "db-0.17abc", UID: "u", Labels: map[string]string{"l": "v"}},
		InvolvedObject: corev1.ObjectReference{
			Kind: "Pod", APIVersion: "v1", Namespace: "vc-x7k2p3q4-web", Name: "db-0", UID: "host-pod", ResourceVersion: "77", FieldPath: "spec.containers{db}",
		},
		Related: &corev1.ObjectReference{Kind: "Node", Name: "node-9"},
		Reason:  "BackOff", Message: "Back-off restarting in vc-x7k2p3q4-web", Type: corev1.EventTypeWarning, Count: 3, FirstTimestamp: first, LastTimestamp: first,
		Source: corev1.EventSource{Component: "kubelet", Host: "node-1"}, ReportingController: "kubelet", ReportingInstance: "node-1",
	}
}

func TestTranslate(t *testing.T) {
	about := subject{namespace: "web", name: "db-0", uid: "tenant-pod", nodeName: "node-1"}
	want := hostEvent()
	want.ObjectMeta = metav1.ObjectMeta{Namespace: "web", Name: "db-0.17abc", Labels: map[string]string{mapping.LabelMirror: "true"}}
	want.InvolvedObject = corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: "web", Name: "db-0", UID: "tenant-pod", FieldPath: "spec.containers{db}"}
	want.Related = nil
	want.Message = "scrubbed"
	scrub := func(string) string { return "scrubbed" }
	if diff := cmp.Diff(want, translate(hostEvent(), about, scrub)); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}

	foreign := hostEvent()
	foreign.Source = corev1.EventSource{Component: "default-scheduler", Host: "master-1"}
	foreign.ReportingController, foreign.ReportingInstance = "default-scheduler", "default-scheduler-master-1"
	got := translate(foreign, about, scrub)
	if got.Source.Host != "" || got.ReportingInstance != "default-scheduler" {
		t.Errorf("a machine of the host is named: %+v, %q", got.Source, got.ReportingInstance)
	}
}

func TestRepetitionRaisesTheCount(t *testing.T) {
	about := subject{namespace: "web", name: "db-0", uid: "tenant-pod", nodeName: "node-1"}
	have := translate(hostEvent(), about, func(s string) string { return s })
	repeated := hostEvent()
	repeated.Count, repeated.LastTimestamp = 4, metav1.NewTime(repeated.LastTimestamp.Add(time.Minute))
	want := translate(repeated, about, func(s string) string { return s })
	if isUpToDate(have, want) {
		t.Fatal("the repetition is not seen")
	}
	raised := raise(have, want)
	if raised.Count != 4 || !isUpToDate(raised, want) {
		t.Errorf("raised = %+v", raised)
	}
}

func TestWhatIsNotCopied(t *testing.T) {
	for name, change := range map[string]func(*corev1.Event){
		"written by the agent":           func(event *corev1.Event) { event.Source.Component = engine.FieldManager },
		"written by the agent, new form": func(event *corev1.Event) { event.ReportingController = engine.FieldManager },
		"about a node":                   func(event *corev1.Event) { event.InvolvedObject.Kind = "Node" },
		"about a custom resource":        func(event *corev1.Event) { event.InvolvedObject.APIVersion = "example.com/v1" },
	} {
		event := hostEvent()
		change(event)
		if !isOurs(event) && isAbout(event.InvolvedObject) {
			t.Errorf("an event %s is copied", name)
		}
	}
	if isOurs(hostEvent()) || !isAbout(hostEvent().InvolvedObject) {
		t.Error("an event of the kubelet about a pod is not copied")
	}
}

func TestTurnsAreLimitedPerTenant(t *testing.T) {
	turns := newTurns()
	allowed := 0
	for range 10 * eventBurst {
		if turns.take("loud") {
			allowed++
		}
	}
	if allowed < eventBurst || allowed > 2*eventBurst {
		t.Errorf("a tenant got %d events at once, want about %d", allowed, eventBurst)
	}
	if !turns.take("quiet") {
		t.Error("another tenant has to wait")
	}
	turns.forget("loud")
	if !turns.take("loud") {
		t.Error("a forgotten tenant is remembered")
	}
}
