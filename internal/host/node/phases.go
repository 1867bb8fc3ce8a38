package node

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/supervisor"
)

// phases reports the ends of phases to the supervisor.
type phases struct {
	mu  sync.Mutex
	out io.Writer
}

// track starts the clock of a phase; the returned function reports its end.
func (p *phases) track(name control.PhaseName) func() error {
	start := time.Now()
	return func() error {
		return p.send(supervisor.Report{Phase: name, Took: time.Since(start)})
	}
}

// fail reports why the process ends.
func (p *phases) fail(reason error) error {
	return p.send(supervisor.Report{Error: reason.Error()})
}

func (p *phases) send(report supervisor.Report) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := json.NewEncoder(p.out).Encode(report); err != nil {
		return fmt.Errorf("report to the supervisor: %w", err)
	}
	return nil
}
