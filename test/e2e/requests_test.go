package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// statusOf asks an API server and returns the HTTP status of its answer.
func statusOf(t *testing.T, config *rest.Config, path string) int {
	t.Helper()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(config.Host, "/")+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}
