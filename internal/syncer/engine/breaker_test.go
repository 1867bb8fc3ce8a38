package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"
)

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// call makes one call and returns how much was answered.
func call(ctx context.Context, t *testing.T, b *breaker) (read int64, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://tenant.test/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := b.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return io.Copy(io.Discard, response.Body)
}

func TestBreakerBlocksLongerEachTimeUntilASuccess(t *testing.T) {
	answer := errors.New("connection refused")
	var pauses []time.Duration
	cleared := 0
	b := &breaker{
		next: roundTripFunc(func(*http.Request) (*http.Response, error) {
			if answer != nil {
				return nil, answer
			}
			return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody}, nil
		}),
		block: func(pause time.Duration) { pauses = append(pauses, pause) },
		clear: func() { cleared++ },
	}
	for range 2 {
		if _, err := call(t.Context(), t, b); err == nil {
			t.Fatal("the call succeeded")
		}
	}
	if len(pauses) != 0 {
		t.Fatalf("blocked after two failures: %v", pauses)
	}
	for range 8 {
		_, _ = call(t.Context(), t, b)
	}
	if len(pauses) != 8 || pauses[0] != breakerFirst || pauses[1] != 2*breakerFirst || pauses[7] != breakerLast {
		t.Errorf("pauses: %v", pauses)
	}
	answer = nil
	if _, err := call(t.Context(), t, b); err != nil || cleared != 1 {
		t.Errorf("after a success: %v, cleared %d times", err, cleared)
	}
}

func TestBreakerDoesNotMindCancelledCallsAndRefusals(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := &breaker{
		next:  roundTripFunc(func(request *http.Request) (*http.Response, error) { return nil, request.Context().Err() }),
		block: func(time.Duration) { t.Error("blocked") },
	}
	for range 2 * breakerThreshold {
		_, _ = call(ctx, t, b)
	}
	b.next = roundTripFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusInternalServerError, Body: http.NoBody}, nil
	})
	for range 2 * breakerThreshold {
		if _, err := call(t.Context(), t, b); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBreakerBoundsAnswers(t *testing.T) {
	b := &breaker{next: roundTripFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(make([]byte, maxResponse+100)))}, nil
	})}
	read, err := call(t.Context(), t, b)
	if err != nil || read != maxResponse {
		t.Errorf("read %d bytes (%v), want %d", read, err, maxResponse)
	}
}
