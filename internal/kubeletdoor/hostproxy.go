package kubeletdoor

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// maxHostError bounds what is read of an error that the host's API server answers.
const maxHostError = 64 << 10

// hostProxy forwards requests to the host's API server with the agent's credentials.
type hostProxy struct {
	base      *url.URL
	transport http.RoundTripper
	log       *slog.Logger
}

func newHostProxy(config *rest.Config, log *slog.Logger) (*hostProxy, error) {
	config = rest.CopyConfig(config)
	// Streams take a connection over, which HTTP/2 cannot.
	config.NextProtos = []string{"http/1.1"}
	// Streams have no end that is known beforehand.
	config.Timeout = 0
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a transport to the host cluster: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("find the address of the host cluster: %w", err)
	}
	// JoinPath of an empty path would be relative.
	base.Path = "/" + strings.TrimPrefix(base.Path, "/")
	return &hostProxy{base: base, transport: transport, log: log}, nil
}

// forwardedHeaders are those that a stream needs. Whatever says who somebody is must come from the agent alone.
var forwardedHeaders = []string{
	"Accept", "Connection", "Content-Type", "Sec-Websocket-Extensions", "Sec-Websocket-Key", "Sec-Websocket-Protocol",
	"Sec-Websocket-Version", "Upgrade", "X-Stream-Protocol-Version",
}

func (p *hostProxy) serve(w http.ResponseWriter, r *http.Request, tenant tenants.Tenant, request podRequest, hostPod *corev1.Pod, query url.Values) {
	names := redactor{tenant: tenant, hostPod: hostPod, namespace: request.namespace}
	proxy := &httputil.ReverseProxy{
		Transport: p.transport,
		// Lines of a log are wanted when they are written.
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		Rewrite:       func(out *httputil.ProxyRequest) { p.rewrite(out, request, hostPod, query) },
		ModifyResponse: func(response *http.Response) error {
			keepHeaders(response.Header)
			if response.StatusCode < http.StatusBadRequest {
				return nil
			}
			return names.replaceError(response)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			p.log.Warn("Host did not answer a kubelet request", "vcluster", tenant.UID, "action", request.action, "error", err)
			http.Error(w, "the host cluster did not answer; try again in a moment", http.StatusBadGateway)
		},
	}
	proxy.ServeHTTP(w, r)
}

func (p *hostProxy) rewrite(proxied *httputil.ProxyRequest, request podRequest, hostPod *corev1.Pod, query url.Values) {
	target := p.base.JoinPath("api", "v1", "namespaces", hostPod.Namespace, "pods", hostPod.Name, string(request.action))
	target.RawQuery = query.Encode()
	header := http.Header{}
	for _, key := range forwardedHeaders {
		if values := proxied.In.Header.Values(key); len(values) > 0 {
			header[key] = values
		}
	}
	if _, ok := header["Upgrade"]; ok {
		// Only the one hop-by-hop header that is meant to pass.
		header["Connection"] = []string{"Upgrade"}
	} else {
		header.Del("Connection")
	}
	proxied.Out.URL, proxied.Out.Host, proxied.Out.Header = target, target.Host, header
	// No request of these has a body; what a stream carries comes after the upgrade.
	proxied.Out.Body, proxied.Out.ContentLength = http.NoBody, 0
}

// answeredHeaders are those of a host's answer that a tenant sees; others tell of the host's API server.
var answeredHeaders = map[string]bool{
	"Connection": true, "Content-Length": true, "Content-Type": true, "Sec-Websocket-Accept": true,
	"Sec-Websocket-Extensions": true, "Sec-Websocket-Protocol": true, "Upgrade": true, "X-Stream-Protocol-Version": true,
}

func keepHeaders(header http.Header) {
	for key := range header {
		if !answeredHeaders[http.CanonicalHeaderKey(key)] {
			delete(header, key)
		}
	}
}

// redactor turns what the host says into what a kubelet of the tenant would say.
type redactor struct {
	tenant    tenants.Tenant
	hostPod   *corev1.Pod
	namespace string
}

// replaceError puts the text of the host's error in place of its Status object: the tenant's API server makes a Status of
// its own from it, as it does with a kubelet's.
func (n redactor) replaceError(response *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxHostError))
	if err != nil {
		return fmt.Errorf("read the host's error: %w", err)
	}
	if err := response.Body.Close(); err != nil {
		return fmt.Errorf("close the host's error: %w", err)
	}
	text := n.text(response.StatusCode, body)
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		// It is the agent that is not allowed; the tenant's user is.
		response.StatusCode = http.StatusBadGateway
	}
	response.Status = http.StatusText(response.StatusCode)
	response.Body = io.NopCloser(strings.NewReader(text))
	response.ContentLength = int64(len(text))
	response.Header = http.Header{
		"Content-Type":   {"text/plain; charset=utf-8"},
		"Content-Length": {strconv.Itoa(len(text))},
	}
	return nil
}

func (n redactor) text(code int, body []byte) string {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "the host cluster refuses the agent; ask the operator of the host cluster"
	}
	status := metav1.Status{}
	if err := json.Unmarshal(body, &status); err != nil || status.Message == "" {
		return fmt.Sprintf("the host cluster answered %d %s", code, http.StatusText(code))
	}
	return n.names(status.Message)
}

// names replaces the names of the host by the tenant's.
func (n redactor) names(text string) string {
	return strings.NewReplacer(
		n.hostPod.Namespace, n.namespace,
		string(n.hostPod.UID), n.hostPod.Annotations[tenantUID],
	).Replace(text)
}
