package integration

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// TestSleepVerbs: what the verbs write, and that the rest of a policy stays. The test plays the agent.
func TestSleepVerbs(t *testing.T) {
	tenancy := tenancytest.NewHost(t, nil)
	h := newHost(t, tenancy.Config)
	tenancy.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo"}})
	vc := &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "hello"}}
	vc.Spec.Sleep = &tenancyv1alpha1.Sleep{AfterIdle: &metav1.Duration{Duration: time.Hour}, DeleteAfterIdle: &metav1.Duration{Duration: 48 * time.Hour}}
	tenancy.Create(t, vc)
	tenancy.Create(t, &tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: tenancyv1alpha1.SpaceSpec{Account: "team"}})

	h.must(t, "sleep", "vc", "hello", "-n", "demo", "--dry-run", "server")
	if got := h.sleepOf(t); got.Force != "" {
		t.Errorf("a dry run has written %+v", got)
	}
	if ended := h.must(t, "sleep", "vc", "hello", "-n", "demo"); ended.stdout != "virtualcluster.cluster.matryoshka.dev/hello put to sleep\n" {
		t.Errorf("it says %q", ended.stdout)
	}
	if got := h.sleepOf(t); got.Force != tenancyv1alpha1.ForceAsleep || got.AfterIdle == nil || got.AfterIdle.Duration != time.Hour {
		t.Errorf("sleep has written %+v", got)
	}

	printed := h.must(t, "wake", "vc", "hello", "-n", "demo", "-o", "json").stdout
	var woken clusterv1alpha1.VirtualCluster
	if err := json.Unmarshal([]byte(printed), &woken); err != nil {
		t.Fatal(err)
	}
	asked, err := time.Parse(time.RFC3339, woken.Annotations[tenancyv1alpha1.AnnotationWake])
	if err != nil || time.Since(asked) > time.Minute || woken.Spec.Sleep.Force != "" || woken.Spec.Sleep.DeleteAfterIdle == nil || woken.Kind != "VirtualCluster" {
		t.Errorf("wake has made of it %s", printed)
	}

	h.must(t, "snooze", "vc", "hello", "-n", "demo", "--for", "240h")
	if until := h.sleepOf(t).SnoozeUntil; until == nil || time.Until(until.Time) < 239*time.Hour || time.Until(until.Time) > 241*time.Hour {
		t.Errorf("snooze has written %v", until)
	}
	h.fails(t, exit.Usage, []string{"--for"}, "snooze", "vc", "hello", "-n", "demo", "--for", "-1h")
	h.fails(t, exit.Failed, []string{"web", "deleteAfterIdle"}, "snooze", "space", "web")
	h.fails(t, exit.NotFound, []string{"nobody"}, "sleep", "space", "nobody")

	// --wait waits for the agent.
	ended := make(chan result, 1)
	go func() { ended <- h.matry(t, "sleep", "space", "web", "--wait", "--timeout", "20s") }()
	var space tenancyv1alpha1.Space
	h.eventually(t, func() bool {
		err := tenancy.Admin.Get(t.Context(), client.ObjectKey{Name: "web"}, &space)
		return err == nil && space.Spec.Sleep != nil && space.Spec.Sleep.Force == tenancyv1alpha1.ForceAsleep
	})
	space.Status.Sleep.Phase = tenancyv1alpha1.PhaseAsleep
	if err := tenancy.Admin.Status().Update(t.Context(), &space); err != nil {
		t.Fatal(err)
	}
	if got := <-ended; got.code != exit.OK || !strings.Contains(got.stderr, "space web sleeps") {
		t.Errorf("it ended with %d: %s", got.code, got.stderr)
	}
}

// sleepOf is what the virtual cluster asks for.
func (h *host) sleepOf(t *testing.T) tenancyv1alpha1.Sleep {
	t.Helper()
	var vc clusterv1alpha1.VirtualCluster
	if err := h.client.Get(t.Context(), client.ObjectKey{Namespace: "demo", Name: "hello"}, &vc); err != nil {
		t.Fatal(err)
	}
	return *vc.Spec.Sleep
}
