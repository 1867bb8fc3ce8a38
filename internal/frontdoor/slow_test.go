package frontdoor

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// silent opens connections from one address that never say anything.
func silent(t *testing.T, address string, count int) []net.Conn {
	t.Helper()
	connections := make([]net.Conn, 0, count)
	for range count {
		connections = append(connections, dial(t, address))
	}
	return connections
}

// dialFrom connects from another address of the machine's loopback network.
func dialFrom(t *testing.T, source, address string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func isClosed(conn net.Conn) bool {
	_, err := conn.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestSilentClientsKeepNobodyOut(t *testing.T) {
	d := openDoor(t, nil)
	silent(t, d.address, maxNamelessOfSource)
	if late := dial(t, d.address); !isClosed(late) {
		t.Error("one source may hold any number of connections without saying where it wants to go")
	}
	other := dialFrom(t, "127.0.0.2", d.address)
	greeting := hello(t, "x7k2p7q4.vc.matryoshka.internal")
	if _, err := other.Write(greeting); err != nil {
		t.Fatal(err)
	}
	backend, err := d.backend.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	if _, err := io.ReadFull(backend, make([]byte, len(greeting))); err != nil {
		t.Errorf("another source is not served: %v", err)
	}
}

func TestNamedConnectionsGiveTheirPlaceBack(t *testing.T) {
	d := openDoor(t, nil)
	greeting := hello(t, "x7k2p7q4.vc.matryoshka.internal")
	for _, conn := range silent(t, d.address, maxNamelessOfSource) {
		if _, err := conn.Write(greeting); err != nil {
			t.Fatal(err)
		}
		backend, err := d.backend.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { backend.Close() })
		if _, err := io.ReadFull(backend, make([]byte, len(greeting))); err != nil {
			t.Fatal(err)
		}
	}
	waitUntil(t, func() bool { return isServed(t, d) })
}

func TestSilentClientIsClosedInTime(t *testing.T) {
	d := openDoor(t, func(s *Server) { s.helloTimeout = 50 * time.Millisecond })
	if conn := dial(t, d.address); !isClosed(conn) {
		t.Error("a client that says nothing is kept")
	}
	// Half a greeting is no better.
	conn := dial(t, d.address)
	if _, err := conn.Write(hello(t, "x7k2p7q4.vc.matryoshka.internal")[:20]); err != nil {
		t.Fatal(err)
	}
	if !isClosed(conn) {
		t.Error("a client that sends half a ClientHello is kept")
	}
}
