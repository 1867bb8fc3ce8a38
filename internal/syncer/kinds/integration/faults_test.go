package integration

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/namespaces"
	"github.com/matryoshka-dev/matryoshka/internal/testenv/faults"
)

func eventuallyWithin(t *testing.T, within time.Duration, what string, condition func() error) {
	t.Helper()
	var missing error
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, within, true, func(context.Context) (bool, error) {
		missing = condition()
		return missing == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v (%v)", what, missing, err)
	}
}

// reachBy makes the agent, whose engine does not run yet, reach the API servers in another way.
func (w *world) reachBy(t *testing.T, host, tenant *rest.Config) {
	t.Helper()
	w.agentConfig, w.tenant.VirtualConfig = host, tenant
	w.ensurer = namespaces.New(newClient(t, w.agentConfig), namespaces.Options{})
}

// TestFaults: whatever goes wrong between the agent and the API servers, what a tenant was told is done, the host ends with
// exactly that, and with nothing when it is deleted, while things still go wrong.
func TestFaults(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := newWorld(t)
	node := w.preparePods(t)
	host, tenant := faults.NewInjector(seed), faults.NewInjector(seed+1)
	w.reachBy(t, host.Config(w.agentConfig), tenant.Config(w.tenant.VirtualConfig))
	stop := w.run(t)

	someFail := faults.Plan{Share: 0.3, WatchLife: 2 * time.Second}
	for _, phase := range []struct {
		name         string
		host, tenant faults.Plan
	}{
		{name: "host-is-slow", host: faults.Plan{Delay: time.Second}},
		{name: "host-fails", host: someFail},
		{name: "both-fail", host: someFail, tenant: someFail},
	} {
		isRight := t.Run(phase.name, func(t *testing.T) {
			defer host.Set(faults.Plan{})
			defer tenant.Set(faults.Plan{})
			load := w.newWorkload(t, node, phase.name, seed)
			host.Set(phase.host)
			tenant.Set(phase.tenant)
			load.run(100, 3*time.Second)
			load.awaitConvergence(time.Minute)

			load.deleteAll(time.Minute)
			expectFailures(t, host, phase.host)
			expectFailures(t, tenant, phase.tenant)
		})
		if !isRight {
			return // what is left of it would only make the others slow
		}
	}
	t.Run("agent-is-killed", func(t *testing.T) {
		load := w.newWorkload(t, node, "agent-is-killed", seed)
		for range 3 {
			load.run(30, time.Second)
			stop()
			load.run(10, 300*time.Millisecond)
			stop = w.run(t)
		}
		load.awaitConvergence(time.Minute)
		load.deleteAll(time.Minute)
	})
	t.Run("clock-jumps", func(t *testing.T) {
		stop()
		w.run(t) // the last one ended with its test
		load := w.newWorkload(t, node, "clock-jumps", seed)
		for _, ahead := range []time.Duration{0, 3 * time.Hour, -3 * time.Hour, 0} {
			w.ahead.Store(int64(ahead))
			load.run(20, 700*time.Millisecond)
		}
		load.awaitConvergence(time.Minute)
		load.deleteAll(time.Minute)
	})
}

// expectFailures makes sure that a plan by which requests fail had some fail in every way.
func expectFailures(t *testing.T, injector *faults.Injector, plan faults.Plan) {
	t.Helper()
	if plan.Share == 0 {
		return
	}
	for _, failure := range []faults.Failure{faults.NotSent, faults.AnswerLost, faults.InternalError, faults.Unavailable, faults.TooMany} {
		if injector.Count(failure) == 0 {
			t.Errorf("failure %d never happened", failure)
		}
	}
}

// TestCuts: a network that goes silent holds up the sync as long as it is, and no longer than it takes to notice that a
// connection is dead: nobody closes it.
func TestCuts(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := newWorld(t)
	node := w.preparePods(t)
	host, hostConfig := faults.NewLink(t, w.agentConfig)
	tenant, tenantConfig := faults.NewLink(t, w.tenant.VirtualConfig)
	w.reachBy(t, hostConfig, tenantConfig)
	w.run(t)
	links := []*faults.Link{host, tenant}
	t.Run("cut", func(t *testing.T) {
		load := w.newWorkload(t, node, "cut", seed)
		load.run(40, time.Second)
		for _, link := range links {
			link.Cut()
		}
		load.run(40, 10*time.Second)
		for _, link := range links {
			link.Heal()
		}
		load.run(20, time.Second)
		load.awaitConvergence(time.Minute)
		load.deleteAll(time.Minute)
	})
	t.Run("connections-die", func(t *testing.T) {
		load := w.newWorkload(t, node, "connections-die", seed)
		load.run(40, time.Second)
		for _, link := range links {
			link.Freeze()
		}
		load.run(60, 2*time.Second)
		// 30 seconds until it is asked whether a connection lives, 15 for the answer.
		load.awaitConvergence(90 * time.Second)
		load.deleteAll(time.Minute)
	})
}
