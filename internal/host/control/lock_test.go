package control

import (
	"os"
	"sync"
	"testing"
)

// A command that asks for the status must neither keep a host from starting nor see the process ID of an earlier one.
func TestAskingDoesNotDisturbAStart(t *testing.T) {
	layout := newTestLayout(t)
	// The file of a killed host: its process ID may be another program's by now.
	if err := os.WriteFile(layout.LockFile(), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var askers sync.WaitGroup
	for range 4 {
		askers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if pid, err := layout.holder(); err != nil || (pid != 0 && pid != os.Getpid()) {
					t.Errorf("the host is process %d (%v)", pid, err)
					return
				}
			}
		})
	}
	for range 500 {
		lock, err := layout.Lock()
		if err != nil {
			t.Fatalf("lock what nobody holds: %v", err)
		}
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	askers.Wait()
}
