package tenants

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

// MaxAnswer bounds what a tenant's API server may answer to one request, unpacked. A watch that has got so far is asked
// for again from where it was.
const MaxAnswer = 256 << 20

// ErrRedirect says that a tenant's API server wants the agent to ask somebody else. API servers have no reason to.
var ErrRedirect = errors.New("the virtual cluster's API server answered with a redirect, which is never followed")

// Guard makes a transport to a tenant's API server safe against what a tenant makes that server answer (it may have
// replaced it, or have registered an aggregated API in the place of a built-in one): a redirect would send the agent, and
// what it writes, to any address that the agent can reach, and an answer without end would fill the memory of the
// agent of all tenants.
func Guard(next http.RoundTripper) http.RoundTripper { return guard{next: next} }

type guard struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (g guard) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := g.next.RoundTrip(request)
	if err != nil {
		return response, err
	}
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		return nil, errors.Join(fmt.Errorf("%s %s: %w", request.Method, request.URL.Path, ErrRedirect), response.Body.Close())
	}
	// An upgraded connection is read and written as it is.
	if response.StatusCode != http.StatusSwitchingProtocols {
		response.Body = boundedBody{Reader: io.LimitReader(response.Body, MaxAnswer), Closer: response.Body}
	}
	return response, nil
}

// WrappedRoundTripper lets the libraries of Kubernetes find what is behind.
func (g guard) WrappedRoundTripper() http.RoundTripper { return g.next }

type boundedBody struct {
	io.Reader
	io.Closer
}
