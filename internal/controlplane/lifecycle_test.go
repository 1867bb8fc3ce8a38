package controlplane_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

// TestTwentyRoundsOfTwo starts, uses and stops two control planes side by side, again and again: nothing may be left
// of them, or a process that holds many would fill up.
func TestTwentyRoundsOfTwo(t *testing.T) {
	pki := testenv.NewPKI(t)
	const rounds = 20
	early := 0
	for round := range rounds {
		useTwo(t, pki, round)
		// The first rounds fill process-wide pools and caches of upstream.
		if round == 4 {
			early = lastingGoroutines()
		}
	}
	late := lastingGoroutines()
	t.Logf("goroutines that last: %d after 5 rounds, %d after %d", early, late, rounds)
	if late > early+10 {
		dump := &strings.Builder{}
		_ = pprof.Lookup("goroutine").WriteTo(dump, 1)
		t.Errorf("goroutines grew from %d to %d:\n%.8000s", early, late, dump)
	}
}

func useTwo(t *testing.T, pki string, round int) {
	t.Helper()
	type started struct {
		cp   *controlplane.ControlPlane
		uses error
	}
	results := make(chan started, 2)
	for i := range 2 {
		go func() {
			cp, client := start(t, config.ControlPlane{PKIDirectory: pki, Store: config.Store{Type: config.StoreMemory}, ServiceRanges: []string{"10.96.0.0/16"}})
			name := fmt.Sprintf("round-%d-%d", round, i)
			_, err := client.CoreV1().ConfigMaps("default").Create(context.Background(),
				&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			results <- started{cp, err}
		}()
	}
	for range 2 {
		result := <-results
		if result.uses != nil {
			t.Errorf("round %d: %v", round, result.uses)
		}
		stop(t, result.cp)
	}
}

// lastingGoroutines counts those that do not end by themselves: the fewest seen for longer than upstream's watch cache
// keeps one for every read that it served (3 s, whether the cache is stopped or not). One look would count these too: as
// growth if they come last, and as room for a leak if they come first.
func lastingGoroutines() int {
	const (
		longest = 3 * time.Second // blockTimeout of k8s.io/apiserver/pkg/storage/cacher
		every   = 20 * time.Millisecond
	)
	fewest := runtime.NumGoroutine()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	// Looks are counted, and not time: a machine that stands still misses looks.
	for range (longest + 2*time.Second) / every {
		<-ticker.C
		fewest = min(fewest, runtime.NumGoroutine())
	}
	return fewest
}

func TestSQLiteSurvivesARestart(t *testing.T) {
	c := config.ControlPlane{
		PKIDirectory: testenv.NewPKI(t),
		Store:        config.Store{Type: config.StoreSQLite, Path: filepath.Join(t.TempDir(), "state.db")},
	}
	cp, client := start(t, c)
	created, err := client.CoreV1().ConfigMaps("default").Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Data: map[string]string{"a": "1"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Written to the very end: an acknowledged write must not be lost by the stop.
	written := make(chan string, 1)
	go func() {
		last := ""
		for i := 0; ; i++ {
			name := fmt.Sprintf("late-%d", i)
			_, err := client.CoreV1().ConfigMaps("default").Create(context.Background(),
				&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			if err != nil {
				written <- last
				return
			}
			last = name
		}
	}()
	eventually(t, "a late write", func() error {
		_, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "late-3", metav1.GetOptions{})
		return err
	})
	stop(t, cp)
	last := <-written

	cp, client = start(t, c)
	defer stop(t, cp)
	kept, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil || kept.UID != created.UID || kept.Data["a"] != "1" {
		t.Errorf("after the restart: %v, %v", kept, err)
	}
	if _, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), last, metav1.GetOptions{}); err != nil {
		t.Errorf("the last acknowledged write %q: %v", last, err)
	}
}

func TestStartFailsCleanly(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	c := config.ControlPlane{
		Name: "demo/test", UID: "5f0c1d2e", ServiceAddress: "10.96.0.1", PKIDirectory: testenv.NewPKI(t),
		BindAddress: "127.0.0.1", Port: taken.Addr().(*net.TCPAddr).Port, Store: config.Store{Type: config.StoreMemory},
	}
	for name, change := range map[string]func(*config.ControlPlane){
		"port in use": func(*config.ControlPlane) {},
		"no PKI":      func(c *config.ControlPlane) { c.Port = freePort(t); c.PKIDirectory = "/nonexistent" },
		"store unusable": func(c *config.ControlPlane) {
			c.Store = config.Store{Type: config.StoreSQLite, Path: "/proc/none/state.db"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			change(&c)
			cp, err := controlplane.New(c)
			if err != nil {
				t.Fatal(err)
			}
			if err := cp.Start(t.Context()); err == nil {
				t.Error("it started")
				stop(t, cp)
			}
			if entries, err := os.ReadDir(temporary); err != nil || len(entries) > 0 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		})
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
