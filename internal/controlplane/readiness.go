package controlplane

import (
	"fmt"
	"net/http"
	"sync"
)

// Parts that must have started before the control plane is ready.
const (
	partBootstrap   = "bootstrap"
	partControllers = "controllers"
	partFlowControl = "flow-control"
	partScheduler   = "scheduler"
	// partHooks are upstream's post-start hooks, which /readyz knows by itself.
	partHooks = "hooks"
)

// readiness is the part of /readyz that upstream does not know of.
type readiness struct {
	mu      sync.Mutex
	missing map[string]bool
	done    chan struct{}
}

func newReadiness(scheduler bool) *readiness {
	missing := map[string]bool{partBootstrap: true, partControllers: true, partFlowControl: true, partHooks: true}
	if scheduler {
		missing[partScheduler] = true
	}
	return &readiness{missing: missing, done: make(chan struct{})}
}

func (r *readiness) started(part string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.missing[part] {
		return
	}
	delete(r.missing, part)
	if len(r.missing) == 0 {
		close(r.done)
	}
}

// check is one line of /readyz.
type check struct {
	*readiness
	part string
}

func (c check) Name() string { return "matryoshka-" + c.part }

func (c check) Check(*http.Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.missing[c.part] {
		return fmt.Errorf("%s not started yet", c.part)
	}
	return nil
}

func (r *readiness) checks() []check {
	r.mu.Lock()
	defer r.mu.Unlock()
	var checks []check
	for _, part := range []string{partBootstrap, partControllers, partFlowControl, partScheduler} {
		if r.missing[part] {
			checks = append(checks, check{r, part})
		}
	}
	return checks
}
