package controlplane_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

// BenchmarkStart measures from New to the default ServiceAccount, for each store.
func BenchmarkStart(b *testing.B) {
	pki := testenv.NewPKI(b)
	for _, store := range []config.StoreType{config.StoreMemory, config.StoreSQLite} {
		b.Run(string(store), func(b *testing.B) {
			for b.Loop() {
				c := config.ControlPlane{PKIDirectory: pki, Store: config.Store{Type: store}}
				if store == config.StoreSQLite {
					c.Store.Path = filepath.Join(b.TempDir(), "state.db")
				}
				cp, client := start(b, c)
				eventually(b, "the default ServiceAccount", func() error {
					_, err := client.CoreV1().ServiceAccounts("default").Get(context.Background(), "default", metav1.GetOptions{})
					return err
				})
				b.StopTimer()
				stop(b, cp)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkIdleMemory reports the private memory of this process with one idle control plane, and what each of four
// more adds to it.
func BenchmarkIdleMemory(b *testing.B) {
	pki := testenv.NewPKI(b)
	for b.Loop() {
		var all []*controlplane.ControlPlane
		var first float64
		for range 5 {
			cp, _ := start(b, config.ControlPlane{PKIDirectory: pki, Store: config.Store{Type: config.StoreMemory}})
			all = append(all, cp)
			if len(all) == 1 {
				first = settledMemory(b)
			}
		}
		b.ReportMetric(first, "MiB/first")
		b.ReportMetric((settledMemory(b)-first)/float64(len(all)-1), "MiB/further")
		for _, cp := range all {
			stop(b, cp)
		}
	}
}

// settledMemory is RssAnon after garbage collection, once the first list and watch of everything is done.
func settledMemory(b *testing.B) float64 {
	b.Helper()
	// There is no condition for "idle": what is measured is what is left after this long.
	<-time.After(5 * time.Second)
	runtime.GC()
	debug.FreeOSMemory()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc: ", err)
	}
	found := regexp.MustCompile(`RssAnon:\s+(\d+) kB`).FindSubmatch(data)
	if found == nil {
		b.Skip("no RssAnon in /proc/self/status")
	}
	kib, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}
