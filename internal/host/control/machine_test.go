package control

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestCheckMakesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, as a host does")
	}
	programs := t.TempDir()
	for _, name := range Programs {
		if err := os.WriteFile(filepath.Join(programs, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	free, busy := newListener(t), newListener(t)
	freePort := free.Addr().(*net.TCPAddr).Port
	free.Close()
	options := Options{
		DataDir: filepath.Join(os.TempDir(), "no-such-host"), ProgramsDir: programs,
		APIPort: busy.Addr().(*net.TCPAddr).Port, FrontDoorPort: freePort,
	}
	err := Check(t.Context(), options)
	for _, word := range []string{"--api-port", strconv.Itoa(options.APIPort), "in use"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not name %q: %v", word, err)
		}
	}
	busy.Close()
	if err := Check(t.Context(), options); err != nil {
		t.Errorf("nothing is wrong any more: %v", err)
	}
	if _, err := os.Stat(options.DataDir); !os.IsNotExist(err) {
		t.Errorf("the check has made the data folder (%v)", err)
	}
}

func newListener(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}
