package supervisor

import (
	"os"
	"slices"
	"sync"
	"time"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

// statusWriter keeps the status file current.
type statusWriter struct {
	layout control.Layout
	// nodeReady is closed when the first node is Ready for the first time.
	nodeReady chan struct{}
	mu        sync.Mutex
	status    control.Status
}

func newStatusWriter(layout control.Layout, options control.Options, started time.Time) *statusWriter {
	return &statusWriter{layout: layout, nodeReady: make(chan struct{}), status: control.Status{
		State: control.Starting, PID: os.Getpid(), StartedAt: started, Options: options,
	}}
}

func (w *statusWriter) write() error {
	return w.change(func(*control.Status) {})
}

func (w *statusWriter) change(f func(*control.Status)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.status)
	return w.layout.WriteStatus(w.status)
}

// track starts the clock of a phase; the returned function reports its end.
func (w *statusWriter) track(name control.PhaseName) func() error {
	start := time.Now()
	return func() error { return w.ended(name, time.Since(start)) }
}

// ended notes the end of a phase. The host runs when all have ended; a phase that ends again, after a restart of the inner
// process, is not noted again.
func (w *statusWriter) ended(name control.PhaseName, took time.Duration) error {
	return w.change(func(s *control.Status) {
		if slices.ContainsFunc(s.Phases, func(p control.Phase) bool { return p.Name == name }) {
			return
		}
		s.Phases = append(s.Phases, control.Phase{Name: name, At: time.Since(s.StartedAt), Took: took})
		if name == control.PhaseNodeReady {
			close(w.nodeReady)
		}
		if len(s.Phases) == len(s.Options.Phases()) {
			s.State = control.Running
		}
	})
}

func (w *statusWriter) isRunning() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status.State == control.Running
}

func (w *statusWriter) restarted() error {
	return w.change(func(s *control.Status) { s.Restarts++ })
}

func (w *statusWriter) failed(err error) error {
	return w.change(func(s *control.Status) { s.State, s.Error = control.Failed, err.Error() })
}

func (w *statusWriter) stopped() error {
	return w.change(func(s *control.Status) { s.State = control.Stopped })
}
