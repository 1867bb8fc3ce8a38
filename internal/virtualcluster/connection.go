package virtualcluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/connrotation"

	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

const (
	dialTimeout      = 2 * time.Second
	handshakeTimeout = 5 * time.Second
	// headerTimeout bounds a request of the agent; the headers of a watch come at once, so that watches stay open.
	headerTimeout = 30 * time.Second
	probeTimeout  = 2 * time.Second
	// maxProbeAnswer bounds what is read of an answer of /readyz.
	maxProbeAnswer = 16 << 10
)

// connection is how the agent reaches one tenant's API server: as system:masters, over one connection of its own.
type connection struct {
	fingerprint string
	address     string
	tokenKeyID  string

	config    *rest.Config
	client    kubernetes.Interface
	http      *http.Client
	transport *http.Transport
	kubelets  *pki.KubeletCertificates
	rootCA    []byte

	masters *pki.Renewing
	dialer  *connrotation.Dialer

	mu   sync.Mutex
	made *tls.Certificate // protected by mu; the one that open connections were made with
}

// rotate closes what is open when the agent's certificate has been renewed: an API server looks at the certificate of a
// connection with every request, and a connection full of watches would live on with the old one. Readers begin anew.
func (c *connection) rotate() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	certificate, err := c.masters.Certificate()
	if err != nil {
		return fmt.Errorf("renew the agent's certificate: %w", err)
	}
	if certificate == c.made {
		return nil
	}
	c.made = certificate
	c.dialer.CloseAll()
	return nil
}

func (c *connection) close() {
	c.transport.CloseIdleConnections()
	c.dialer.CloseAll()
}

// connections are the connections to all tenants, shared by the controllers of this package.
type connections struct {
	options *Options

	mu    sync.Mutex
	byUID map[types.UID]*connection // protected by mu
}

func newConnections(options *Options) *connections {
	return &connections{options: options, byUID: map[types.UID]*connection{}}
}

// get returns the connection to a tenant: the same one until its authorities or its address change.
func (c *connections) get(uid types.UID, tenant *pki.Tenant, address string) (*connection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if existing, ok := c.byUID[uid]; ok {
		if existing.fingerprint == tenant.Fingerprint() && existing.address == address {
			if err := existing.rotate(); err != nil {
				return nil, err
			}
			return existing, nil
		}
		existing.close()
	}
	made, err := newConnection(tenant, address, c.options)
	if err != nil {
		return nil, err
	}
	c.byUID[uid] = made
	return made, nil
}

// known returns the connection to a tenant if there is one.
func (c *connections) known(uid types.UID) (*connection, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	existing, ok := c.byUID[uid]
	return existing, ok
}

func (c *connections) forget(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if existing, ok := c.byUID[uid]; ok {
		existing.close()
		delete(c.byUID, uid)
	}
}

func newConnection(tenant *pki.Tenant, address string, options *Options) (*connection, error) {
	// The certificate renews itself inside the transport, so that whoever holds the configuration need never be told.
	masters := pki.NewRenewing(tenant.Client, pki.MastersLeaf(), options.Clock)
	target := net.JoinHostPort(address, strconv.Itoa(servicePort))
	dialer := connrotation.NewDialer(onlyTo(target, options.Dial))
	transport := &http.Transport{
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   handshakeTimeout,
		ResponseHeaderTimeout: headerTimeout,
		IdleConnTimeout:       5 * time.Minute,
		ForceAttemptHTTP2:     true,
		// A control plane whose node died sends nothing, not even a reset: ask when nothing was heard for a while.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 10 * time.Second},
		TLSClientConfig: &tls.Config{
			MinVersion:           tls.VersionTLS12,
			RootCAs:              tenant.Serving.Pool(),
			ServerName:           "kubernetes.default.svc",
			GetClientCertificate: masters.GetClientCertificate,
			Time:                 options.Clock.Now,
		},
	}
	guarded := tenants.Guard(transport)
	config := &rest.Config{
		Host:      "https://" + target,
		Transport: guarded,
		UserAgent: "matryoshka-agent",
		QPS:       -1,
		// A tenant chooses the warnings of its API server; they are no business of the agent's log.
		WarningHandler: rest.NoWarnings{},
	}
	certificate, err := masters.Certificate()
	if err != nil {
		return nil, fmt.Errorf("make the agent's certificate: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the virtual cluster: %w", err)
	}
	tokenKeyID, err := tenant.TokenKeyID()
	if err != nil {
		return nil, fmt.Errorf("name the key of the ServiceAccounts: %w", err)
	}
	return &connection{
		fingerprint: tenant.Fingerprint(),
		address:     address,
		tokenKeyID:  tokenKeyID,
		config:      config,
		client:      client,
		http:        &http.Client{Transport: guarded, Timeout: probeTimeout},
		transport:   transport,
		kubelets:    pki.NewKubeletCertificates(tenant.Kubelet, options.Clock),
		rootCA:      tenant.Serving.CertificatePEM(),
		masters:     masters,
		dialer:      dialer,
		made:        certificate,
	}, nil
}

// onlyTo dials one address and no other: a tenant's API server can answer with a redirect, and the agent stands inside
// the host's network, where such a request could do harm.
func onlyTo(target string, dial connrotation.DialFunc) connrotation.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != target {
			return nil, fmt.Errorf("the virtual cluster's API server leads to %s; only %s is its own", address, target)
		}
		return dial(ctx, network, address)
	}
}

// probe asks the API server whether it is ready. Nil means yes; otherwise the error says what it answered.
func (c *connection) probe(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.config.Host+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("ask /readyz: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask /readyz: %w", err)
	}
	defer response.Body.Close()
	// Read to the end, so that the connection is kept.
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxProbeAnswer)); err != nil {
		return fmt.Errorf("read the answer of /readyz: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz answers %s", response.Status)
	}
	return nil
}
