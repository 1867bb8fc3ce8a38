package store_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
)

// BenchmarkWrites measures updates of 1 KiB objects by some clients at once, each of its own key, as an API server makes them.
func BenchmarkWrites(b *testing.B) {
	for _, kind := range []config.StoreType{config.StoreSQLite, config.StoreMemory} {
		for _, writers := range []int{1, 10, 50} {
			b.Run(fmt.Sprintf("%s/writers=%d", kind, writers), func(b *testing.B) {
				c := config.Store{Type: kind}
				if kind == config.StoreSQLite {
					c.Path = filepath.Join(b.TempDir(), "state.db")
				}
				_, client := open(b, c)
				value := string(make([]byte, 1024))
				var left atomic.Int64
				left.Store(int64(b.N))
				b.ResetTimer()
				var group sync.WaitGroup
				for i := range writers {
					group.Go(func() {
						key := fmt.Sprintf("/registry/configmaps/default/%d", i)
						ok, revision, err := create(b.Context(), client, key, value)
						for left.Add(-1) >= 0 {
							if !ok || err != nil {
								b.Errorf("write %s: %v, %v", key, ok, err)
								return
							}
							ok, revision, err = updateAt(b.Context(), client, key, value, revision)
						}
					})
				}
				group.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			})
		}
	}
}
