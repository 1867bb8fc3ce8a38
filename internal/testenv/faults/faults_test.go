package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// counting is a server that counts what reaches it. A watch gets one line and then nothing.
func counting(t *testing.T) (config *rest.Config, reached *atomic.Int32) {
	t.Helper()
	reached = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		fmt.Fprintln(w, "done")
		if r.URL.Query().Has("watch") {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}, reached
}

func get(t *testing.T, config *rest.Config, path string, within time.Duration) (code int, body string, err error) {
	t.Helper()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	return response.StatusCode, string(read), err
}

func TestEveryFailure(t *testing.T) {
	direct, reached := counting(t)
	injector := NewInjector(1)
	config := injector.Config(direct)
	injector.Set(Plan{Share: 1})
	resets, codes := 0, map[int]int{}
	const requests = 200
	for range requests {
		code, _, err := get(t, config, "/", time.Minute)
		switch {
		case errors.Is(err, syscall.ECONNRESET):
			resets++
		case err != nil:
			t.Fatalf("unexpected error: %v", err)
		default:
			codes[code]++
		}
	}
	if want := injector.Count(AnswerLost); int(reached.Load()) != want || want == 0 {
		t.Errorf("%d requests reached the server, want those %d whose answer was lost", reached.Load(), want)
	}
	if want := injector.Count(NotSent) + injector.Count(AnswerLost); resets != want {
		t.Errorf("%d requests were reset, want %d", resets, want)
	}
	for code, failure := range map[int]Failure{500: InternalError, 503: Unavailable, 429: TooMany} {
		if codes[code] != injector.Count(failure) || codes[code] == 0 {
			t.Errorf("%d answers %d, want %d", codes[code], code, injector.Count(failure))
		}
	}
	injector.Set(Plan{})
	if _, body, err := get(t, config, "/", time.Minute); err != nil || body != "done\n" {
		t.Errorf("without a plan: %q, %v", body, err)
	}
}

func TestDelayAndEndOfWatch(t *testing.T) {
	direct, _ := counting(t)
	injector := NewInjector(2)
	config := injector.Config(direct)
	injector.Set(Plan{Delay: 100 * time.Millisecond, WatchLife: 300 * time.Millisecond})
	began := time.Now()
	if _, _, err := get(t, config, "/", time.Minute); err != nil || time.Since(began) < 100*time.Millisecond {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	if _, body, err := get(t, config, "/?watch=true", time.Minute); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the watch ended with %v after %q", err, body)
	}
	injector.Set(Plan{Delay: time.Hour})
	if _, _, err := get(t, config, "/", 50*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request that is given up while it is delayed: %v", err)
	}
}

func TestLink(t *testing.T) {
	direct, reached := counting(t)
	link, config := NewLink(t, direct)
	if _, body, err := get(t, config, "/", time.Minute); err != nil || body != "done\n" {
		t.Fatalf("through the link: %q, %v", body, err)
	}
	link.Freeze()
	before := reached.Load()
	if _, _, err := get(t, config, "/", 200*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("on a connection that is frozen: %v", err)
	}
	// The client has given that connection up.
	if _, _, err := get(t, config, "/", time.Minute); err != nil {
		t.Errorf("on a new connection: %v", err)
	}
	link.Cut()
	if _, _, err := get(t, config, "/", 200*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("through a link that is cut: %v", err)
	}
	if got := reached.Load() - before; got != 1 {
		t.Errorf("%d requests reached the server, want the one on the new connection", got)
	}
	link.Heal()
	if _, _, err := get(t, config, "/", time.Minute); err != nil {
		t.Errorf("through a link that has healed: %v", err)
	}
}
