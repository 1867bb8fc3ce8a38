package connect

import (
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

func TestWakes(t *testing.T) {
	forced := &tenancyv1alpha1.Sleep{Force: tenancyv1alpha1.ForceAsleep}
	cases := map[string]struct {
		phase    tenancyv1alpha1.SleepPhase
		sleep    *tenancyv1alpha1.Sleep
		isPaused bool
		wantNext string // empty: it wakes
	}{
		"awake":                  {phase: tenancyv1alpha1.PhaseAwake, sleep: forced},
		"idle":                   {phase: tenancyv1alpha1.PhaseAsleep, sleep: &tenancyv1alpha1.Sleep{}},
		"idle, without a policy": {phase: tenancyv1alpha1.PhaseAsleep},
		"forced":                 {phase: tenancyv1alpha1.PhaseAsleep, sleep: forced, wantNext: "matry wake virtualcluster hello -n demo"},
		"about to, forced":       {phase: tenancyv1alpha1.PhaseFallingAsleep, sleep: forced, wantNext: "matry wake virtualcluster hello -n demo"},
		"paused":                 {phase: tenancyv1alpha1.PhaseAsleep, isPaused: true, wantNext: "spec.paused"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			vc := &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "hello"}}
			vc.Spec.Sleep, vc.Spec.Paused, vc.Status.Sleep.Phase = c.sleep, c.isPaused, c.phase
			err := wakes(vc)
			var told *exit.Error
			switch {
			case c.wantNext == "" && err != nil:
				t.Errorf("it does not wake: %v", err)
			case c.wantNext != "" && (!errors.As(err, &told) || !strings.Contains(told.Next, c.wantNext)):
				t.Errorf("got %v, want that the next step has %q", err, c.wantNext)
			}
		})
	}
}
