package kubeletdoor

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/matryoshka-dev/matryoshka/internal/dooridentity"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// kubeletPort is part of the protocol; it is not the port of any kubelet.
const kubeletPort = "10250"

// maxConnect bounds the request that opens a tunnel.
const maxConnect = 8 << 10

// errRefused is told to a client that has proved who it is; the text says no more than it may know.
type errRefused struct {
	code int
	text string
}

func (e *errRefused) Error() string { return e.text }

// open makes a tunnel of a new connection and hands it to the kubelet server. On an error the caller closes the
// connection.
func (d *Door) open(ctx context.Context, connection net.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := connection.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return fmt.Errorf("set a deadline: %w", err)
	}
	outer := tls.Server(connection, d.TLS)
	if err := outer.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("shake hands: %w", err)
	}
	t, err := d.connect(ctx, outer)
	if refused := (&errRefused{}); errors.As(err, &refused) {
		writeRefusal(outer, refused)
		return errors.Join(err, outer.Close())
	}
	if err != nil {
		return err
	}
	if err := d.tunnels.add(t); err != nil {
		writeRefusal(outer, &errRefused{code: http.StatusTooManyRequests, text: err.Error()})
		return errors.Join(err, outer.Close())
	}
	if err := d.startKubelet(ctx, outer, t); err != nil {
		return errors.Join(err, t.Close())
	}
	return nil
}

// connect reads who wants to reach which node.
func (d *Door) connect(ctx context.Context, outer *tls.Conn) (*tunnel, error) {
	state := outer.ConnectionState()
	uid, err := dooridentity.FromConnection(&state)
	if err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: outer, N: maxConnect}
	buffered := bufio.NewReader(limited)
	request, err := http.ReadRequest(buffered)
	if err != nil {
		return nil, fmt.Errorf("read the request for a tunnel of %q: %w", uid, err)
	}
	tenant, ok := d.Tenants.ByUID(uid)
	if !ok || tenant.Terminating {
		return nil, &errRefused{http.StatusForbidden, "the client certificate belongs to no virtual cluster of this host"}
	}
	node, err := parseConnect(request)
	if err != nil {
		return nil, &errRefused{http.StatusBadRequest, err.Error()}
	}
	if buffered.Buffered() > 0 {
		return nil, &errRefused{http.StatusBadRequest, "data came before the tunnel stood"}
	}
	address, ok, err := d.NodeAddress(ctx, tenant, node)
	if err != nil {
		d.Log.Error("Node of a tunnel could not be read", "vcluster", tenant.UID, "node", node, "error", err)
		return nil, &errRefused{http.StatusServiceUnavailable, "the node cannot be looked up; try again in a moment"}
	}
	if !ok {
		return nil, &errRefused{http.StatusNotFound, fmt.Sprintf("there is no node %q", node)}
	}
	certificate, err := kubeletCertificate(tenant, address)
	if err != nil {
		d.Log.Error("Certificate of a tunnel could not be made", "vcluster", tenant.UID, "node", node, "error", err)
		return nil, &errRefused{http.StatusServiceUnavailable, "the node has no certificate; try again in a moment"}
	}
	return &tunnel{owner: tenant.UID, node: node, certificate: certificate}, nil
}

func kubeletCertificate(tenant tenants.Tenant, address string) (*tls.Certificate, error) {
	if tenant.KubeletCertificate == nil {
		return nil, errors.New("the tenant has no kubelet CA yet")
	}
	return tenant.KubeletCertificate(address)
}

// parseConnect reads the node out of CONNECT <node>:10250.
func parseConnect(request *http.Request) (node string, err error) {
	if request.Method != http.MethodConnect {
		return "", errors.New("the kubelet door understands CONNECT <node>:10250 only")
	}
	node, ok := strings.CutSuffix(request.Host, ":"+kubeletPort)
	if !ok || len(validation.IsDNS1123Subdomain(node)) > 0 {
		return "", errors.New("the target must be <node>:10250")
	}
	return node, nil
}

func writeRefusal(w io.Writer, refused *errRefused) {
	body := refused.text + "\n"
	// The client may be gone; the connection is closed anyway.
	_, _ = fmt.Fprintf(w, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		refused.code, http.StatusText(refused.code), len(body), body)
}

// startKubelet tells the client that the tunnel stands and answers the TLS inside.
func (d *Door) startKubelet(ctx context.Context, outer *tls.Conn, t *tunnel) error {
	if _, err := io.WriteString(outer, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return fmt.Errorf("answer a request for a tunnel: %w", err)
	}
	inner := tls.Server(outer, &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{*t.certificate},
		// Streams upgrade the connection, which HTTP/2 has not.
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true,
	})
	t.set(inner)
	if err := inner.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("shake hands as the kubelet of node %q: %w", t.node, err)
	}
	if err := outer.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("lift the deadline: %w", err)
	}
	return d.ready.put(t)
}
