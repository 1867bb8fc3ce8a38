package hostpace

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// host is an API server that has places for so many calls at once, and turns others away.
type host struct {
	mu       sync.Mutex
	capacity int
	running  int
	peak     int
	served   int
	refused  int
	after    string
	takes    func() time.Duration
}

func (h *host) RoundTrip(request *http.Request) (*http.Response, error) {
	h.mu.Lock()
	if h.running >= h.capacity {
		h.refused++
		h.mu.Unlock()
		return answer(http.StatusTooManyRequests, "text/plain; charset=utf-8", h.after), nil
	}
	h.running++
	h.peak = max(h.peak, h.running)
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.running--
		h.served++
	}()
	select {
	case <-time.After(h.takes()):
		return answer(http.StatusCreated, "application/json", ""), nil
	case <-request.Context().Done():
		return nil, request.Context().Err()
	}
}

func answer(code int, media, after string) *http.Response {
	response := &http.Response{StatusCode: code, Body: http.NoBody, Header: http.Header{}}
	if media != "" {
		response.Header.Set("Content-Type", media)
	}
	if after != "" {
		response.Header.Set("Retry-After", after)
	}
	return response
}

func (h *host) setCapacity(capacity int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.capacity, h.peak, h.served, h.refused = capacity, 0, 0, 0
}

func (h *host) counts() (served, refused, peak int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.served, h.refused, h.peak
}

func post(ctx context.Context, t *testing.T, through http.RoundTripper) error {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://host.test/things", strings.NewReader("{}"))
	if err != nil {
		t.Error(err)
		return nil
	}
	response, err := through.RoundTrip(request)
	if err == nil {
		response.Body.Close()
	}
	return err
}

// TestPaceFollowsTheHost: with many workers that always have work, the calls at once fall to what the host takes when it takes
// less, nearly nothing is turned away then, and they come back when it takes more.
func TestPaceFollowsTheHost(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { followsTheHost(t, seed) })
		})
	}
}

func followsTheHost(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	var randomMu sync.Mutex
	server := &host{capacity: 200, after: "1", takes: func() time.Duration {
		randomMu.Lock()
		defer randomMu.Unlock()
		return time.Duration(5+random.IntN(40)) * time.Millisecond
	}}
	pace := New(Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	through := pace.Wrap(server)
	for range 64 {
		workers.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				busy := (*BusyError)(nil)
				if err := post(ctx, t, through); errors.As(err, &busy) {
					if waited := time.Since(began); waited > time.Second+50*time.Millisecond {
						t.Errorf("a worker was held for %s", waited)
					}
					wait(ctx, max(busy.After, 20*time.Millisecond))
				}
			}
		})
	}
	wait(ctx, 10*time.Second)
	if limit := pace.Limit(); limit != 64 || pace.Throttled() != 0 {
		t.Errorf("the limit of a host that takes everything is %d", limit)
	}

	capacity := 3 + random.IntN(30)
	server.setCapacity(capacity)
	wait(ctx, 20*time.Second) // to find it out
	server.setCapacity(capacity)
	wait(ctx, time.Minute)
	served, refused, _ := server.counts()
	if limit := pace.Limit(); limit > capacity+1 {
		t.Errorf("the limit is %d although the host takes %d", limit, capacity)
	}
	if refused*50 > served {
		t.Errorf("the host took %d calls and had to turn %d away", served, refused)
	}
	t.Logf("capacity %d: served %d, refused %d, best %d", capacity, served, refused, capacity*int(time.Minute/(25*time.Millisecond)))
	if best := capacity * int(time.Minute/(25*time.Millisecond)); served < best*4/10 {
		t.Errorf("the host took %d calls in a minute; it could have taken about %d", served, best)
	}

	server.setCapacity(200)
	wait(ctx, 40*time.Second)
	if limit := pace.Limit(); limit != 64 {
		t.Errorf("the limit is %d when the host takes everything again", limit)
	}
}

func wait(ctx context.Context, period time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(period):
	}
}

// TestPaceKeepsItsBounds: whatever is answered in whatever order, the limit stays between its bounds, no more calls run than it
// says, and nothing is lost: in the end all may be made.
func TestPaceKeepsItsBounds(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			options := Options{Least: 1 + random.IntN(3), Most: 4 + random.IntN(12), Step: time.Duration(1+random.IntN(50)) * time.Millisecond}
			pace := New(options)
			type call struct{ began time.Time }
			var running []call
			for range 500 {
				switch {
				case random.IntN(3) > 0 && pace.room():
					if err := pace.begin(t.Context()); err != nil {
						t.Fatalf("seed %d: there is room but: %v", seed, err)
					}
					running = append(running, call{time.Now()})
				case len(running) > 0:
					index := random.IntN(len(running))
					done := running[index]
					running = append(running[:index], running[index+1:]...)
					if random.IntN(8) == 0 {
						pace.throttle(done.began, time.Duration(random.IntN(3))*time.Second)
					} else {
						pace.end(random.IntN(4) > 0)
					}
				}
				wait(t.Context(), time.Duration(random.IntN(100))*time.Millisecond)
				if limit := pace.Limit(); limit < options.Least || limit > options.Most {
					t.Fatalf("seed %d: the limit is %d of %d to %d", seed, limit, options.Least, options.Most)
				}
			}
			for range running {
				pace.end(true)
			}
			wait(t.Context(), options.MaxPause+10*time.Second)
			if pace.running != 0 || len(pace.waiting) != 0 || !pace.room() {
				t.Errorf("seed %d: %d run and %d wait in the end", seed, pace.running, len(pace.waiting))
			}
		})
	}
}

// room tells whether a call need not wait.
func (p *Pace) room() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.pausedUntil) <= 0 && p.running < p.limit
}

func TestWaitingIsInOrderAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pace := New(Options{Least: 1, Most: 1})
		if err := pace.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []int
		var group sync.WaitGroup
		for index := range 3 {
			group.Go(func() {
				if err := pace.begin(t.Context()); err != nil {
					t.Errorf("call %d: %v", index, err)
					return
				}
				mu.Lock()
				order = append(order, index)
				mu.Unlock()
				wait(t.Context(), 100*time.Millisecond)
				pace.end(true)
			})
			synctest.Wait()
		}
		canceled, cancel := context.WithCancel(t.Context())
		group.Go(func() {
			if err := pace.begin(canceled); !errors.Is(err, context.Canceled) {
				t.Errorf("a call that is given up: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		pace.end(true)
		group.Wait()
		if fmt.Sprint(order) != "[0 1 2]" {
			t.Errorf("order %v", order)
		}

		if err := pace.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		began, busy := time.Now(), (*BusyError)(nil)
		if err := pace.begin(t.Context()); !errors.As(err, &busy) || time.Since(began) != time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// TestRetryAfterIsHonoured: nothing is asked until the time is over, and who would have to wait long is told at once.
func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &host{capacity: 0, after: "7", takes: func() time.Duration { return time.Millisecond }}
		pace := New(Options{})
		through := pace.Wrap(server)
		busy := (*BusyError)(nil)
		if err := post(t.Context(), t, through); !errors.As(err, &busy) || busy.After != 7*time.Second {
			t.Fatalf("got %v", err)
		}
		began := time.Now()
		server.setCapacity(10)
		if err := post(t.Context(), t, through); !errors.As(err, &busy) || time.Since(began) != 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		wait(t.Context(), 6500*time.Millisecond)
		if err := post(t.Context(), t, through); err != nil || time.Since(began) < 7*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if served, refused, _ := server.counts(); served != 1 || refused != 0 {
			t.Errorf("%d calls were served and %d refused meanwhile", served, refused)
		}

		server.setCapacity(0)
		server.after = "86400"
		if err := post(t.Context(), t, through); !errors.As(err, &busy) || busy.After != 10*time.Second {
			t.Errorf("an answer holds everything back: %v", err)
		}
	})
}

// TestOnlyTheServersOwnRefusalSlowsDown: what a webhook says about one tenant's object must not slow down the others.
func TestOnlyTheServersOwnRefusalSlowsDown(t *testing.T) {
	for name, tc := range map[string]struct {
		code        int
		media       string
		isThrottled bool
	}{
		"Server":      {429, "text/plain; charset=utf-8", true},
		"Proxy":       {429, "text/html", true},
		"NoType":      {429, "", true},
		"Webhook":     {429, "application/json", false},
		"Protobuf":    {429, "application/vnd.kubernetes.protobuf", false},
		"Unavailable": {503, "application/json", false},
		"Created":     {201, "application/json", false},
	} {
		t.Run(name, func(t *testing.T) {
			pace := New(Options{})
			through := pace.Wrap(roundTrip(func(*http.Request) (*http.Response, error) { return answer(tc.code, tc.media, "1"), nil }))
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://host.test/", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response, err := through.RoundTrip(request)
			if err == nil {
				response.Body.Close()
				// It would make client-go hold the worker.
				if after := response.Header.Get("Retry-After"); after != "" {
					t.Errorf("Retry-After %q is left", after)
				}
			}
			busy := (*BusyError)(nil)
			if errors.As(err, &busy) != tc.isThrottled || pace.Throttled() > 0 != tc.isThrottled || pace.Limit() < 64 != tc.isThrottled {
				t.Errorf("error %v, %d throttled, limit %d", err, pace.Throttled(), pace.Limit())
			}
			if pace.running != 0 {
				t.Errorf("%d calls run", pace.running)
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
