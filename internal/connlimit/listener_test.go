package connlimit_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/matryoshka-dev/matryoshka/internal/connlimit"
)

func TestListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := connlimit.New(inner, 3, 2)
	t.Cleanup(func() { listener.Close() })
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- connection
		}
	}()
	address := inner.Addr().String()
	first, second := dial(t, "127.0.0.1", address), dial(t, "127.0.0.1", address)
	served := <-accepted
	<-accepted
	if !isClosed(t, dial(t, "127.0.0.1", address)) {
		t.Error("a third connection of one source is open")
	}
	other := dial(t, "127.0.0.2", address)
	<-accepted
	if !isClosed(t, dial(t, "127.0.0.3", address)) {
		t.Error("a fourth connection in all is open")
	}
	// Closing twice gives one place back, not two.
	served.Close()
	served.Close()
	dial(t, "127.0.0.1", address)
	<-accepted
	if !isClosed(t, dial(t, "127.0.0.1", address)) {
		t.Error("one closed connection has made room for two")
	}
	for _, connection := range []net.Conn{first, second, other} {
		connection.Close()
	}
}

func dial(t *testing.T, source, address string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	connection, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

func isClosed(t *testing.T, connection net.Conn) bool {
	t.Helper()
	if err := connection.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err := connection.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}
