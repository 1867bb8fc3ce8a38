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
	given, recoveries, isBlocked := 0, 0, false
	b := &breaker{
		next: roundTripFunc(func(*http.Request) (*http.Response, error) {
			if answer != nil {
				return nil, answer
			}
			return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody}, nil
		}),
		block: func(pause time.Duration) bool {
			if !isBlocked {
				pauses = append(pauses, pause)
			}
			return !isBlocked
		},
		recovered: func() { recoveries++ },
		faster:    func() bool { given++; return given == 3 },
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
	b.pause, pauses, isBlocked = 0, nil, true
	for range 8 { // they were under way when the first of them blocked
		_, _ = call(t.Context(), t, b)
	}
	isBlocked = false
	if _, _ = call(t.Context(), t, b); len(pauses) != 1 || pauses[0] != breakerFirst {
		t.Errorf("pauses after calls that failed together: %v", pauses)
	}
	answer = nil
	for range 5 {
		if _, err := call(t.Context(), t, b); err != nil {
			t.Fatal(err)
		}
	}
	if recoveries != 1 {
		t.Errorf("the queue was told %d times that the server is back, want once", recoveries)
	}
	if given != 3 {
		t.Errorf("workers were given back %d times, want until all are there", given)
	}
}

func TestBreakerDoesNotMindCancelledCallsAndRefusals(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := &breaker{
		next:  roundTripFunc(func(request *http.Request) (*http.Response, error) { return nil, request.Context().Err() }),
		block: func(time.Duration) bool { t.Error("blocked"); return true },
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

// TestBreakerDoesNotBlockForWhatIsSlow: calls that time out say nothing about other calls.
func TestBreakerDoesNotBlockForWhatIsSlow(t *testing.T) {
	slow := 0
	b := &breaker{
		next: roundTripFunc(func(request *http.Request) (*http.Response, error) {
			<-request.Context().Done()
			return nil, request.Context().Err()
		}),
		block:  func(time.Duration) bool { t.Error("blocked"); return true },
		slower: func(time.Time) { slow++ },
		faster: func() bool { return true },
	}
	for range 2 * breakerThreshold {
		tried := &attempt{}
		ctx, cancel := context.WithTimeout(tried.in(t.Context()), time.Millisecond)
		if _, err := call(ctx, t, b); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the call ended with %v", err)
		}
		cancel()
		if !tried.lacksAnswer.Load() || tried.hasAnswer.Load() {
			t.Error("the attempt does not know that there was no answer")
		}
	}
}

// TestBreakerTellsAttempts what came of their calls, and never lets client-go sleep for as long as a tenant says.
func TestBreakerTellsAttempts(t *testing.T) {
	for code, isAnswer := range map[int]bool{
		http.StatusOK: true, http.StatusConflict: true, http.StatusInternalServerError: true,
		http.StatusTooManyRequests: false, http.StatusServiceUnavailable: false, http.StatusGatewayTimeout: false,
	} {
		b := &breaker{next: roundTripFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: code, Body: http.NoBody, Header: http.Header{"Retry-After": {"3600"}}}, nil
		})}
		tried := &attempt{}
		request, err := http.NewRequestWithContext(tried.in(t.Context()), http.MethodGet, "https://tenant.test/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := b.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.Header.Get("Retry-After") != "" {
			t.Errorf("%d: the tenant says how long a worker sleeps", code)
		}
		if tried.hasAnswer.Load() != isAnswer || tried.lacksAnswer.Load() == isAnswer {
			t.Errorf("%d: answered %v, not answered %v", code, tried.hasAnswer.Load(), tried.lacksAnswer.Load())
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

// TestBreakerNoticesSlowAnswers: also one that begins at once and then drips.
func TestBreakerNoticesSlowAnswers(t *testing.T) {
	var slow []time.Time
	b := &breaker{
		next: roundTripFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}),
		slower: func(began time.Time) { slow = append(slow, began) },
		faster: func() bool { return true },
	}
	began := time.Now()
	b.noticed(began, slowCall)
	if len(slow) != 1 || !slow[0].Equal(began) {
		t.Errorf("slow calls: %v", slow)
	}
	response, err := b.RoundTrip(&http.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if !b.isLimited {
		t.Error("the workers were given back before the answer was read")
	}
	response.Body.Close()
	if b.isLimited || len(slow) != 1 {
		t.Errorf("after a quick answer: limited %v, slow calls %v", b.isLimited, slow)
	}
}

// TestBreakerKnowsWebhooksThatSleep: an API server that has waited for a webhook in vain says 500, late.
func TestBreakerKnowsWebhooksThatSleep(t *testing.T) {
	b := &breaker{
		next: roundTripFunc(func(*http.Request) (*http.Response, error) {
			timer := time.NewTimer(slowCall)
			defer timer.Stop()
			<-timer.C
			return &http.Response{StatusCode: http.StatusInternalServerError, Body: http.NoBody}, nil
		}),
		block:  func(time.Duration) bool { t.Error("blocked"); return true },
		slower: func(time.Time) {},
	}
	tried := &attempt{}
	if _, err := call(tried.in(t.Context()), t, b); err != nil {
		t.Fatal(err)
	}
	if !tried.lacksAnswer.Load() {
		t.Error("it counts as an answer")
	}
}
