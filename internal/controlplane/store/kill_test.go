package store_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store"
)

// writerFolder names the folder of a store, for a process that only writes to it.
const writerFolder = "MATRYOSHKA_TEST_WRITER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(writerFolder); folder != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(folder, os.Stdout))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled prints a line for each write that was acknowledged.
func writeUntilKilled(folder string, out io.Writer) error {
	ctx := context.Background()
	s, err := store.New(config.Store{Type: config.StoreSQLite, Path: filepath.Join(folder, "state.db")}, folder)
	if err != nil {
		return err
	}
	endpoint, err := s.Start(ctx)
	if err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: timeout, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	var lines sync.Mutex
	failed := make(chan error)
	for writer := range 20 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("/registry/kept/%d/%d-%d", os.Getpid(), writer, i)
				ok, _, err := create(ctx, client, key, "x")
				if !ok || err != nil {
					failed <- fmt.Errorf("write %s: %v, %w", key, ok, err)
					return
				}
				lines.Lock()
				_, err = fmt.Fprintln(out, key)
				lines.Unlock()
				if err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// TestKilledStoreKeepsWhatWasAcknowledged kills a process while many write, some times over.
func TestKilledStoreKeepsWhatWasAcknowledged(t *testing.T) {
	folder := t.TempDir()
	var acknowledged []string
	for range 3 {
		acknowledged = append(acknowledged, writeAndKill(t, folder, 300)...)
	}

	_, client := open(t, config.Store{Type: config.StoreSQLite, Path: filepath.Join(folder, "state.db")})
	kept := map[string]bool{}
	r, err := client.Get(t.Context(), "/registry/kept/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range r.Kvs {
		kept[string(pair.Key)] = true
	}
	for _, key := range acknowledged {
		if !kept[key] {
			t.Errorf("%s was acknowledged and is lost", key)
		}
	}
	t.Logf("%d were acknowledged, %d are there", len(acknowledged), len(kept))
}

// writeAndKill kills the process after so many acknowledged writes, and returns all it has acknowledged.
func writeAndKill(t *testing.T, folder string, count int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	writer := exec.CommandContext(ctx, os.Args[0])
	writer.Env = append(os.Environ(), writerFolder+"="+folder)
	writer.Stderr = os.Stderr
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		keys = append(keys, scanner.Text())
		if len(keys) == count {
			if err := writer.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = writer.Wait() // It was killed.
	if len(keys) < count {
		t.Fatalf("the process ended after %d writes", len(keys))
	}
	return keys
}
