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

func TestFailureOfAnEarlierStartIsNotThisOnes(t *testing.T) {
	layout := newTestLayout(t)
	if err := layout.WriteStatus(Status{State: Failed, PID: 1, Error: "the datastore is damaged"}); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(layout.Data("logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(layout.StartLog(), []byte("Error: the port is in use\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := startFailure(layout, &launched{pid: 2}, nil); err == nil || err.Error() != "the port is in use" {
		t.Errorf("the start failed with %v", err)
	}
	if err := startFailure(layout, &launched{pid: 1}, nil); err == nil || err.Error() != "the datastore is damaged" {
		t.Errorf("the start that wrote the status failed with %v", err)
	}
}
