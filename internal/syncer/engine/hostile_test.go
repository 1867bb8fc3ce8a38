package engine

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// hostileCached is how much the agent keeps of a tenant in these tests.
const hostileCached = 8 << 20

// hostile is an API server that answers lists and watches as it likes.
type hostile struct {
	list, watch func(w *endlessWriter, r *http.Request)
	// most is the most that was written into one answer before the agent closed it.
	most atomic.Int64
	// ended gets an element when an answer that never ends was ended by the agent.
	ended chan struct{}
}

// endlessWriter writes until nobody reads any more.
type endlessWriter struct {
	http.ResponseWriter
	written int64
	failed  bool
}

func (e *endlessWriter) say(text string) bool {
	n, err := io.WriteString(e, text)
	e.written += int64(n)
	e.failed = e.failed || err != nil
	return !e.failed
}

func (h *hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	endless := &endlessWriter{ResponseWriter: w}
	if isWatch(r) {
		h.watch(endless, r)
	} else {
		h.list(endless, r)
	}
	for most := h.most.Load(); endless.written > most && !h.most.CompareAndSwap(most, endless.written); most = h.most.Load() {
	}
	if endless.failed {
		select {
		case h.ended <- struct{}{}:
		default:
		}
	}
}

func isJSON(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
}

func configMapJSON(name string, size int) string {
	return fmt.Sprintf(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":%q,"namespace":"web","resourceVersion":"1"},"data":{"x":%q}}`, name, strings.Repeat("x", size))
}

// refuseList makes the agent watch from the beginning, and refuseWatchList makes it list.
func refuseList(w *endlessWriter, _ *http.Request) {
	isJSON(w, http.StatusForbidden)
	w.say(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
}

func refuseWatchList(w *endlessWriter, _ *http.Request) {
	isJSON(w, http.StatusUnprocessableEntity)
	w.say(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`)
}

// flood sends an event of a ConfigMap without end.
func flood(kind string, name func(index int) string) func(*endlessWriter, *http.Request) {
	return func(w *endlessWriter, _ *http.Request) {
		if w.written == 0 {
			isJSON(w, http.StatusOK)
		}
		for index := 0; w.say(fmt.Sprintf(`{"type":%q,"object":%s}`+"\n", kind, configMapJSON(name(index), 16<<10))); index++ {
		}
	}
}

// TestHostileAPIServers: whatever a tenant's API server answers, the agent reads a bounded part of it, lets the tenant go when
// it is too much, and can be stopped at any moment.
func TestHostileAPIServers(t *testing.T) {
	t.Parallel()
	again := func(int) string { return "x" }
	other := func(index int) string { return fmt.Sprint("x-", index) }
	slack := int64(8 << 20) // what the kernel and the libraries keep
	for name, tc := range map[string]struct {
		list, watch func(*endlessWriter, *http.Request)
		// isLetGo says that the tenant counts as too large; otherwise the agent has to end an answer, and try again later.
		isLetGo bool
		// most is what the agent may read of one answer.
		most int64
	}{
		"EndlessPages": {
			list: func(w *endlessWriter, _ *http.Request) {
				isJSON(w, http.StatusOK)
				w.say(`{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"1","continue":"more"},"items":[` + configMapJSON("x", 100<<10) + `]}`)
			},
			watch: refuseWatchList, isLetGo: true, most: 1 << 20,
		},
		"EndlessEmptyPages": {
			list: func(w *endlessWriter, _ *http.Request) {
				isJSON(w, http.StatusOK)
				w.say(`{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"1","continue":"more"},"items":[]}`)
			},
			watch: refuseWatchList, isLetGo: true, most: 1 << 20,
		},
		"PageWithoutEnd": {
			list: func(w *endlessWriter, _ *http.Request) {
				isJSON(w, http.StatusOK)
				w.say(`{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[`)
				for w.say(configMapJSON("x", 16<<10) + ",") {
				}
			},
			watch: refuseWatchList, most: minIntake / byteWeight,
		},
		"ObjectsBeforeTheBookmark":       {list: refuseList, watch: flood("ADDED", other), isLetGo: true, most: hostileCached},
		"ModificationsBeforeTheBookmark": {list: refuseList, watch: flood("MODIFIED", again), isLetGo: true, most: hostileCached},
		"ObjectsAfterTheBookmark": {
			list: refuseList,
			watch: func(w *endlessWriter, r *http.Request) {
				isJSON(w, http.StatusOK)
				w.say(`{"type":"BOOKMARK","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}}` + "\n")
				flood("ADDED", other)(w, r)
			},
			isLetGo: true, most: 4 * hostileCached, // in turns, as the cache takes it
		},
		"RefusalWithoutEnd": {
			list: refuseList,
			watch: func(w *endlessWriter, _ *http.Request) {
				isJSON(w, http.StatusInternalServerError)
				for w.say(strings.Repeat("no ", 1000)) {
				}
			},
			most: maxRefusal,
		},
		"EventWithoutEnd": {
			list: refuseList,
			watch: func(w *endlessWriter, _ *http.Request) {
				isJSON(w, http.StatusOK)
				w.say(`{"type":"ADDED","object":{"metadata":{"name":"`)
				for w.say(strings.Repeat("x", 10000)) {
				}
			},
			most: maxValue,
		},
		"SpaceWithoutEnd": {
			list: refuseList,
			watch: func(w *endlessWriter, _ *http.Request) {
				isJSON(w, http.StatusOK)
				for w.say(strings.Repeat("\n", 10000)) {
				}
			},
			most: maxValue,
		},
		"AnotherForm": {
			list: refuseList,
			watch: func(w *endlessWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/cbor-seq")
				for w.say(strings.Repeat("\x9f", 10000)) {
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &hostile{list: tc.list, watch: tc.watch, ended: make(chan struct{}, 1)}
			listening := httptest.NewServer(server)
			defer listening.Close()
			e, run := watchHostile(t, listening.URL, Trigger{Side: Virtual, Object: &corev1.ConfigMap{}})
			deadline := time.After(40 * time.Second)
			if tc.isLetGo {
				for e.Problem(run.uid) == "" {
					select {
					case <-e.again:
					case <-deadline:
						t.Fatalf("the tenant is still served after %d bytes of an answer", server.most.Load())
					}
				}
			} else {
				select {
				case <-server.ended:
				case <-deadline:
					t.Fatal("the agent has ended no answer")
				}
			}
			letGo(t, e, run)
			listening.CloseClientConnections()
			listening.Close() // waits for the handlers, which have then said how much they wrote
			if most := server.most.Load(); most > tc.most+slack {
				t.Errorf("%d bytes of one answer were read, want at most %d", most, tc.most)
			}
		})
	}
}

// letGo fails when a tenant cannot be let go: all others wait for that.
func letGo(t *testing.T, e *Engine, run *tenantRun) {
	t.Helper()
	stopped := make(chan struct{})
	go func() {
		e.stopRun(run)
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Fatal("the tenant cannot be let go")
	}
}

// watchHostile serves a tenant with this API server.
func watchHostile(t *testing.T, url string, triggers ...Trigger) (*Engine, *tenantRun) {
	t.Helper()
	kind := Kind{
		Name: "thing", Object: &corev1.ConfigMap{}, Triggers: triggers,
		Reconcile: func(context.Context, *Scope, Key) (Result, error) { return Result{}, nil },
	}
	registry := tenants.NewRegistry()
	e, err := New(&rest.Config{Host: "https://192.0.2.1"}, registry, []Kind{kind}, Options{
		Namespaces: noNamespaces{}, MaxCached: hostileCached, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	tenant := tenants.Tenant{
		ID: "x7k2p2q4", UID: "u-1", Namespace: "demo", Name: "hello", Ready: true, VirtualConfig: &rest.Config{Host: url, Dial: dialNarrow},
	}
	registry.Set(tenant)
	if err := e.startRun(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	run, _ := e.tenantRun(tenant.UID)
	return e, run
}

// dialNarrow keeps the kernel from taking for the agent what it has not read yet: on a busy machine that can be tens of MiB.
func dialNarrow(ctx context.Context, network, address string) (net.Conn, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return connection, connection.(*net.TCPConn).SetReadBuffer(256 << 10)
}

// noNamespaces makes none.
type noNamespaces struct{ NamespaceEnsurer }

func (noNamespaces) ForgetTenant(types.UID) {}
