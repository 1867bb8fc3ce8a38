package doormetrics

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// values are those of all series, by name and labels.
func values(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			value := metric.GetCounter().GetValue()
			if metric.GetGauge() != nil {
				value = metric.GetGauge().GetValue()
			}
			found[family.GetName()+"{"+strings.Join(labels, ",")+"}"] = value
		}
	}
	return found
}

func newDoor(t *testing.T, name string) (*Door, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	set, err := New(registry)
	if err != nil {
		t.Fatal(err)
	}
	return set.Door(name), registry
}

func TestHandler(t *testing.T) {
	door, registry := newDoor(t, Kubelet)
	handler := door.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
		case "/refused":
			http.Error(w, "too many", http.StatusTooManyRequests)
		case "/strange":
			w.WriteHeader(798)
		case "/stream":
			connection, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			if running := values(t, registry)["matryoshka_door_running{door=kubelet}"]; running != 1 {
				t.Errorf("%v are running while one does", running)
			}
			_, _ = io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
			connection.Close()
		}
	}))
	// Close of the server does not wait for handlers that took their connection.
	var answering sync.WaitGroup
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer answering.Done()
		handler.ServeHTTP(w, r)
	}))
	server.Listener = door.Listener(server.Listener)
	server.Start()
	defer server.Close()
	for _, path := range []string{"/silent", "/silent", "/refused", "/strange", "/stream"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answering.Add(1)
		answer, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	answering.Wait()
	server.Close()

	got := values(t, registry)
	for _, direction := range []string{"in", "out"} {
		name := "matryoshka_door_bytes_total{direction=" + direction + ",door=kubelet}"
		if got[name] < 300 {
			t.Errorf("%v bytes were counted %s", got[name], direction)
		}
		delete(got, name)
	}
	want := map[string]float64{
		"matryoshka_door_requests_total{code=200,door=kubelet}":       2,
		"matryoshka_door_requests_total{code=429,door=kubelet}":       1,
		"matryoshka_door_requests_total{code=101,door=kubelet}":       1,
		"matryoshka_door_requests_total{code=other,door=kubelet}":     1,
		"matryoshka_door_refused_total{door=kubelet,reason=too-many}": 1,
		"matryoshka_door_running{door=kubelet}":                       0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestConnections(t *testing.T) {
	door, registry := newDoor(t, Front)
	done := door.Connected()
	door.Connected()
	done()
	door.Passed(3, 0)
	door.Passed(0, 5)
	door.Refused(Asleep)
	want := map[string]float64{
		"matryoshka_door_requests_total{code=connected,door=front}": 2,
		"matryoshka_door_refused_total{door=front,reason=asleep}":   1,
		"matryoshka_door_bytes_total{direction=in,door=front}":      3,
		"matryoshka_door_bytes_total{direction=out,door=front}":     5,
		"matryoshka_door_running{door=front}":                       1,
	}
	if diff := cmp.Diff(want, values(t, registry)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A door without metrics is one that works.
func TestNothingIsCountedWithout(t *testing.T) {
	var door *Door
	door.Refused(Unknown)
	door.Connected()()
	door.Passed(1, 1)
	if door.Listener(nil) != nil || door.Handler(nil) != nil {
		t.Error("something is in the way")
	}
}
