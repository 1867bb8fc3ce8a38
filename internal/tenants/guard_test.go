package tenants

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// TestGuardFollowsNoRedirect: a tenant's API server cannot make the agent ask, or write to, another server.
func TestGuardFollowsNoRedirect(t *testing.T) {
	asked := 0
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer victim.Close()
	for _, code := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		tenant := httptest.NewServer(http.RedirectHandler(victim.URL+"/latest/meta-data", code))
		client := &http.Client{Transport: Guard(http.DefaultTransport)}
		response, err := client.Post(tenant.URL, "application/json", http.NoBody)
		if err == nil {
			response.Body.Close()
		}
		if !errors.Is(err, ErrRedirect) {
			t.Errorf("%d: %v", code, err)
		}
		tenant.Close()
	}
	if asked != 0 {
		t.Errorf("the other server was asked %d times", asked)
	}
}

// endless is an answer that never ends.
type endless struct{}

func (endless) Read(into []byte) (int, error) { return len(into), nil }

func TestGuardBoundsAnswers(t *testing.T) {
	transport := Guard(roundTripFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(endless{})}, nil
	}))
	response, err := transport.RoundTrip(httptest.NewRequest(http.MethodGet, "/api/v1/pods", http.NoBody))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.Copy(io.Discard, response.Body)
	if err != nil || read != MaxAnswer {
		t.Errorf("read %d bytes (%v), want %d", read, err, int64(MaxAnswer))
	}
}
