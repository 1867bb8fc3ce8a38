package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestSilentAPIServers: an answer that does not begin, or drips, ends in time.
func TestSilentAPIServers(t *testing.T) {
	for name, tc := range map[string]struct {
		patience patience
		query    string
		answer   func(w http.ResponseWriter, r *http.Request)
	}{
		"NoHeader": {patience{header: 50 * time.Millisecond, list: time.Hour}, "", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		"List":     {patience{header: time.Hour, list: 50 * time.Millisecond}, "", drip(http.StatusOK)},
		"Refusal":  {patience{header: time.Hour, list: time.Hour, refusal: 50 * time.Millisecond}, "", drip(http.StatusForbidden)},
		"Watch":    {patience{header: time.Hour, watch: 50*time.Millisecond - time.Second}, "?watch=1&timeoutSeconds=1", drip(http.StatusOK)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(tc.answer))
			defer server.Close()
			i := newIntake(hostileCached)
			i.patience = tc.patience
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+tc.query, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			response, err := i.wrap(http.DefaultTransport).RoundTrip(request)
			if err == nil {
				_, err = io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the answer ended with %v", err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
			if i.under.Load() != 0 {
				t.Errorf("%d bytes are still counted", i.under.Load())
			}
		})
	}
}

// drip answers a byte at a time.
func drip(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			w.(http.Flusher).Flush()
			<-ticker.C
		}
	}
}

// answering answers everything with this.
func answering(i *intake, code int, contentType, body string) http.RoundTripper {
	return i.wrap(roundTripFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body))}, nil
	}))
}

// TestAnswersUnderWayAreBoundedTogether: several large answers at the same time are as much as one that is larger.
func TestAnswersUnderWayAreBoundedTogether(t *testing.T) {
	i := newIntake(100 * byteWeight)
	transport := answering(i, http.StatusOK, mediaJSON, strings.Repeat("x", 60))
	ask := func() *http.Response {
		response, err := transport.RoundTrip(httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	first, second, third := ask(), ask(), ask()
	if _, err := io.Copy(io.Discard, first.Body); err != nil {
		t.Errorf("the first: %v", err)
	}
	if _, err := io.Copy(io.Discard, second.Body); !errors.Is(err, errAnswerTooLarge) {
		t.Errorf("the second: %v", err)
	}
	first.Body.Close()
	second.Body.Close()
	if _, err := io.Copy(io.Discard, third.Body); err != nil {
		t.Errorf("the third, when the others are closed: %v", err)
	}
	third.Body.Close()
	third.Body.Close()
	if left := i.under.Load(); left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// TestHeldAnswersCountUntilTheyAreDecoded: client-go closes a body before it decodes it.
func TestHeldAnswersCountUntilTheyAreDecoded(t *testing.T) {
	body := strings.Repeat("[", maxUnheld/typedElement+1)
	i := newIntake(100 << 20)
	read := func(ctx context.Context, code int) error {
		response, err := answering(i, code, mediaJSON, body).RoundTrip(httptest.NewRequest(http.MethodGet, "/", http.NoBody).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	ctx, release := holding(t.Context())
	if err := read(ctx, http.StatusOK); err != nil {
		t.Errorf("an answer that is held: %v", err)
	}
	if err := read(ctx, http.StatusForbidden); !errors.Is(err, errAnswerTooLarge) {
		t.Errorf("a refusal: %v", err)
	}
	if err := read(t.Context(), http.StatusOK); !errors.Is(err, errAnswerTooLarge) {
		t.Errorf("an answer that nobody holds: %v", err)
	}
	if weight := i.under.Load(); weight != int64(len(body)*(typedElement+byteWeight)) {
		t.Errorf("%d bytes count while one answer is held", weight)
	}
	release()
	if weight := i.under.Load(); weight != 0 {
		t.Errorf("%d bytes count when nothing is held", weight)
	}
}

// TestOnlyJSONIsRead: other forms are neither asked for nor decoded.
func TestOnlyJSONIsRead(t *testing.T) {
	for asked, want := range map[string]string{
		"":                 mediaJSON,
		"application/json": mediaJSON,
		"application/vnd.kubernetes.protobuf, */*":                                                  mediaJSON,
		"application/vnd.kubernetes.protobuf;as=X,application/json":                                 mediaJSON,
		"application/vnd.kubernetes.protobuf;as=X;v=v1,application/json;as=X;v=v1,application/json": "application/json;as=X;v=v1,application/json",
	} {
		if got := onlyJSON(asked); got != want {
			t.Errorf("asked for %q: %q, want %q", asked, got, want)
		}
	}
	for _, form := range []string{"application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf;stream=watch", "application/yaml", "text/plain", ""} {
		for _, path := range []string{"/api/v1/pods", "/api/v1/pods?watch=1"} {
			response, err := answering(newIntake(1<<20), http.StatusOK, form, "{}").RoundTrip(httptest.NewRequest(http.MethodGet, path, http.NoBody))
			if err == nil {
				response.Body.Close()
			}
			if !errors.Is(err, errUnknownMedia) {
				t.Errorf("%q for %s: %v", form, path, err)
			}
		}
		response, err := answering(newIntake(1<<20), http.StatusForbidden, form, "no").RoundTrip(httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := response.Header.Get("Content-Type"); got != "text/plain" {
			t.Errorf("a refusal as %q is decoded as %q", form, got)
		}
	}
}
