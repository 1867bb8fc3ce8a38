// Package doormetrics counts what happens at the agent's doors: requests, refusals and bytes.
//
// It decides nothing. Invariants: the values of every label are few, whatever a tenant or a stranger does: doors and reasons are
// constants of this package, codes are those that HTTP has; no label names a virtual cluster. A nil *Door counts nothing,
// so that doors work without it.
package doormetrics

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// The doors.
const (
	Front   = "front"
	Kubelet = "kubelet"
	Address = "address"
	Metrics = "metrics"
)

// Reason is why a door turned somebody away.
type Reason string

// The reasons.
const (
	// TooMany connections or requests, in all, of one source or of one virtual cluster.
	TooMany Reason = "too-many"
	// Handshake: it did not say what it wants, or did not prove who it is.
	Handshake Reason = "handshake"
	// Unknown virtual cluster, or one that is being deleted.
	Unknown Reason = "unknown"
	// Asleep: the virtual cluster sleeps and did not wake in time, or is kept asleep.
	Asleep Reason = "asleep"
	// Closed: the account of the virtual cluster is suspended.
	Closed Reason = "closed"
	// Unreachable: the control plane does not answer.
	Unreachable Reason = "unreachable"
)

// connected is the code of a connection that the front door has passed on: it sees no requests.
const connected = "connected"

// Set is the metrics of all doors of one agent.
type Set struct {
	requests, refusals, bytes *prometheus.CounterVec
	running                   *prometheus.GaugeVec
}

// New makes and registers the metrics.
func New(registerer prometheus.Registerer) (*Set, error) {
	s := &Set{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matryoshka_door_requests_total",
			Help: "Requests that were answered at a door, by the code of the answer. The front door sees no requests; its code is connected, for connections.",
		}, []string{"door", "code"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matryoshka_door_refused_total",
			Help: "Connections and requests that a door turned away, by reason: too-many, handshake, unknown, asleep, closed or unreachable.",
		}, []string{"door", "reason"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matryoshka_door_bytes_total",
			Help: "Bytes that went through a door, in from who called and out to them. The front door counts each direction of a connection when it ends.",
		}, []string{"door", "direction"}),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "matryoshka_door_running", Help: "Requests, streams among them, or at the front door connections, that are open.",
		}, []string{"door"}),
	}
	for _, collector := range []prometheus.Collector{s.requests, s.refusals, s.bytes, s.running} {
		if err := registerer.Register(collector); err != nil {
			return nil, fmt.Errorf("register the metrics of the doors: %w", err)
		}
	}
	return s, nil
}

// Door returns the counters of one door, whose name is a constant of this package.
func (s *Set) Door(name string) *Door {
	return &Door{
		name: name, set: s, running: s.running.WithLabelValues(name),
		in: s.bytes.WithLabelValues(name, "in"), out: s.bytes.WithLabelValues(name, "out"),
	}
}

// Door counts for one door.
type Door struct {
	name    string
	set     *Set
	running prometheus.Gauge
	in, out prometheus.Counter
}

// Refused counts one that was turned away.
func (d *Door) Refused(reason Reason) {
	if d != nil {
		d.set.refusals.WithLabelValues(d.name, string(reason)).Inc()
	}
}

// Connected counts a connection, and as open until done is called.
func (d *Door) Connected() (done func()) {
	if d == nil {
		return func() {}
	}
	d.set.requests.WithLabelValues(d.name, connected).Inc()
	d.running.Inc()
	return d.running.Dec
}

// Passed counts bytes from who called and to them.
func (d *Door) Passed(in, out int64) {
	if d != nil {
		d.in.Add(float64(in))
		d.out.Add(float64(out))
	}
}

// Handler counts the requests that another one answers.
func (d *Door) Handler(next http.Handler) http.Handler {
	if d == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.running.Inc()
		defer d.running.Dec()
		seen := &response{ResponseWriter: w}
		// In a defer: an answer that is cut off, by a panic, counts too.
		defer func() { d.answered(seen.code) }()
		next.ServeHTTP(seen, r)
	})
}

func (d *Door) answered(code int) {
	if code == 0 {
		code = http.StatusOK
	}
	label := strconv.Itoa(code)
	// What is passed on may have any number.
	if http.StatusText(code) == "" {
		label = "other"
	}
	d.set.requests.WithLabelValues(d.name, label).Inc()
	if code == http.StatusTooManyRequests {
		d.Refused(TooMany)
	}
}

// response remembers the code of an answer.
type response struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter. Informational codes are not the answer.
func (r *response) WriteHeader(code int) {
	if r.code == 0 && (code >= http.StatusOK || code == http.StatusSwitchingProtocols) {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

// Hijack implements http.Hijacker: whoever takes the connection switches protocols.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r.code = http.StatusSwitchingProtocols
	return http.NewResponseController(r.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Listener counts the bytes of the connections that it hands out.
func (d *Door) Listener(listener net.Listener) net.Listener {
	if d == nil {
		return listener
	}
	return &countingListener{Listener: listener, door: d}
}

type countingListener struct {
	net.Listener
	door *Door
}

// Accept implements net.Listener.
func (l *countingListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countingConn{Conn: accepted, door: l.door}, nil
}

type countingConn struct {
	net.Conn
	door *Door
}

// Read implements net.Conn.
func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.door.in.Add(float64(n))
	return n, err
}

// Write implements net.Conn.
func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.door.out.Add(float64(n))
	return n, err
}
