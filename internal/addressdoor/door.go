// Package addressdoor is the endpoint of the agent at which a tenant's control plane reserves the addresses of a
// Service on the host, before it stores the Service.
//
// A reservation is an inert host Service: the tenant Service's name and ports in the mapped namespace, no selector,
// never a load balancer, and the time until which it may wait for the sync to take it over. The package neither copies
// Services nor collects reservations that nobody came for; that is the sync's work (syncer/kinds/service). Invariants: who asks is known from the client certificate alone; a host
// Service that is not this tenant's is neither read out, changed nor deleted; asking twice for the same gives the same
// answer; nothing about a reservation is kept in memory, so any replica can answer, take over or collect.
package addressdoor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor/reservation"
	"github.com/matryoshka-dev/matryoshka/internal/connlimit"
	"github.com/matryoshka-dev/matryoshka/internal/dooridentity"
	"github.com/matryoshka-dev/matryoshka/internal/doormetrics"
	"github.com/matryoshka-dev/matryoshka/internal/metricsdoor/usage"
	"github.com/matryoshka-dev/matryoshka/internal/tenantlimit"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

const (
	// requestTimeout bounds everything that one request does on the host and in the tenant. The control plane gives up
	// after 10 seconds; it is told why before.
	requestTimeout = 8 * time.Second
	// reservationTime is how long a reservation waits for its tenant Service to be stored: longer than all admission
	// webhooks of a request together are allowed to take.
	reservationTime = 2 * time.Minute

	// Bounds of open connections. A control plane keeps a few, and opens more while many Services are made at once.
	maxConnections         = 4096
	maxConnectionsOfSource = 256
)

// Options are what a Door needs. All fields are required unless they say otherwise.
type Options struct {
	// Host reaches the host cluster with the agent's own rights.
	Host kubernetes.Interface
	// Tenants tells who may ask.
	Tenants *tenants.Registry
	// EnsureNamespace makes the mapped namespace of a tenant's namespace complete before it returns.
	EnsureNamespace func(ctx context.Context, tenant tenants.Tenant, namespace string) error
	// ForgetNamespace makes the next EnsureNamespace ask the host: the namespace turned out not to be there. Somebody else,
	// or another replica, has deleted it.
	ForgetNamespace func(hostNamespace string)
	// TenantService tells the UID of a Service in the tenant, asked live; empty when there is none.
	TenantService TenantService
	// Metrics answers what is asked at usage.Path, on the same connections; its errors are API statuses. See package
	// metricsdoor. Nil means that there is no such path.
	Metrics func(ctx context.Context, tenant tenants.Tenant, body io.Reader) (*usage.Response, error)
	// Explain puts a refusal of the host in a namespace of the tenant into words for the tenant; ok is false where it has none. Nil has none.
	Explain func(ctx context.Context, hostNamespace, message string) (explained string, ok bool)
	// Counts is of requests for addresses, and of the connections; MetricsCounts of those for metrics. Nil counts nothing.
	Counts, MetricsCounts *doormetrics.Door
	// Clock is the time; nil means the real one.
	Clock clock.PassiveClock
	// Log is where refusals and faults are told; nil means slog.Default.
	Log *slog.Logger
}

// TenantService tells the UID of a Service in a tenant, from its API server and not from a cache. Empty means that
// there is no such Service.
type TenantService func(ctx context.Context, tenant tenants.Tenant, namespace, name string) (types.UID, error)

// Door answers requests for addresses. It is an http.Handler for a server with dooridentity.ServerConfig, which Serve is.
type Door struct {
	Options
	limits *tenantlimit.Limits
}

// New makes a door.
func New(options Options) *Door {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if options.Log == nil {
		options.Log = slog.Default()
	}
	return &Door{Options: options, limits: tenantlimit.New(allowance)}
}

// Serve answers on a plain listener with a TLS configuration of dooridentity.ServerConfig until the context ends.
func (d *Door) Serve(ctx context.Context, listener net.Listener, config *tls.Config) error {
	server := &http.Server{
		Handler:           d.counted(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      requestTimeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(d.Log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	})
	err := server.Serve(tls.NewListener(d.Counts.Listener(connlimit.New(listener, maxConnections, maxConnectionsOfSource)), config))
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the address door: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("stop the address door: %w", err)
	}
	return nil
}

// counted tells the two kinds of requests apart.
func (d *Door) counted() http.Handler {
	addresses, metrics := d.Counts.Handler(d), d.MetricsCounts.Handler(d)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == usage.Path {
			metrics.ServeHTTP(w, r)
			return
		}
		addresses.ServeHTTP(w, r)
	})
}

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	response, err := d.answer(w, r)
	if err != nil {
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// The client is gone if this fails; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(response)
}

func (d *Door) answer(w http.ResponseWriter, r *http.Request) (any, error) {
	tenant, err := d.identify(r)
	if err != nil {
		return nil, err
	}
	asksMetrics := r.URL.Path == usage.Path && d.Metrics != nil
	if r.URL.Path != reservation.Path && !asksMetrics {
		return nil, status(http.StatusNotFound, metav1.StatusReasonNotFound, "the address door has no such path")
	}
	if r.Method != http.MethodPost {
		return nil, apierrors.NewMethodNotSupported(serviceResource, r.Method)
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	if asksMetrics {
		return d.Metrics(ctx, tenant, http.MaxBytesReader(w, r.Body, usage.MaxRequestBytes))
	}
	return d.answerReservation(ctx, tenant, http.MaxBytesReader(w, r.Body, reservation.MaxBytes))
}

func (d *Door) answerReservation(ctx context.Context, tenant tenants.Tenant, body io.Reader) (*reservation.Response, error) {
	release, ok := d.limits.Acquire(ctx, tenant.UID, 1)
	if !ok {
		return nil, tooMany()
	}
	defer release()

	request := reservation.Request{}
	if err := json.NewDecoder(body).Decode(&request); err != nil {
		if tooLarge := (&http.MaxBytesError{}); errors.As(err, &tooLarge) {
			return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("a request has at most %d bytes", reservation.MaxBytes))
		}
		return nil, apierrors.NewBadRequest("the request is not a reservation in JSON")
	}
	response, err := d.reserve(ctx, tenant, request)
	if err != nil {
		return nil, d.explain(ctx, tenant, request, err)
	}
	return response, nil
}

// identify tells which tenant asks. Unknown and leaving tenants get the same answer.
func (d *Door) identify(r *http.Request) (tenants.Tenant, error) {
	uid, err := dooridentity.FromConnection(r.TLS)
	if err != nil {
		d.Counts.Refused(doormetrics.Handshake)
		d.Log.Warn("Refused at the address door", "remote", r.RemoteAddr, "error", err)
		return tenants.Tenant{}, refused
	}
	tenant, ok := d.Tenants.ByUID(uid)
	if !ok || tenant.Terminating {
		d.Counts.Refused(doormetrics.Unknown)
		d.Log.Warn("Refused at the address door", "remote", r.RemoteAddr, "vcluster", uid, "known", ok)
		return tenants.Tenant{}, refused
	}
	return tenant, nil
}
