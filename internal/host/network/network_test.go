package network

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestChooseSubnetAvoidsTaken(t *testing.T) {
	outside, inside, err := chooseSubnet(nil)
	if err != nil {
		t.Fatal(err)
	}
	if outside.String() != "169.254.128.1/30" || inside.String() != "169.254.128.2/30" {
		t.Errorf("first subnet: %s, %s", outside, inside)
	}
	outside, _, err = chooseSubnet([]*net.IPNet{ipNet(netip.MustParsePrefix("169.254.128.1/30")), ipNet(netip.MustParsePrefix("10.0.0.1/8"))})
	if err != nil {
		t.Fatal(err)
	}
	if outside.String() != "169.254.128.5/30" {
		t.Errorf("second subnet: %s", outside)
	}
	if _, _, err := chooseSubnet([]*net.IPNet{ipNet(netip.MustParsePrefix("169.254.0.0/16"))}); err == nil {
		t.Error("a subnet was found in a range that is all taken")
	}
}

func TestForwardCopiesBothWaysAndEnds(t *testing.T) {
	defer goleak.VerifyNone(t)
	target := listen(t)
	go func() {
		conn, err := target.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		// It answers after the end of the question, which must be passed on.
		question, err := io.ReadAll(conn)
		if err == nil {
			_, _ = conn.Write(bytes.ToUpper(question))
		}
	}()
	front := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Forward(ctx, front, func(ctx context.Context) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "tcp", target.Addr().String())
		}, slog.New(slog.DiscardHandler))
	}()
	conn, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || string(answer) != "QUESTION" {
		t.Errorf("answer %q, %v", answer, err)
	}
	conn.Close()
	// One that is open when the forwarder ends must end too.
	idle, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	cancel()
	<-ended
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func TestNamespaceIsMadeOnceAndKept(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	path := filepath.Join(t.TempDir(), "netns")
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	for i, wantMade := range []bool{true, false} {
		made, err := Ensure(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if made != wantMade {
			t.Errorf("call %d: made a new one: %v", i, made)
		}
	}
	listener, err := Listen(t.Context(), path, net.JoinHostPort(NodeAddress.String(), "0"))
	if err != nil {
		t.Fatalf("listen at the node's address: %v", err)
	}
	listener.Close()
	if _, err := net.Listen("tcp", net.JoinHostPort(NodeAddress.String(), "0")); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("listen at the node's address outside: %v, want that it is not there", err)
	}
	var output bytes.Buffer
	command := exec.Command("cat", "/proc/net/dev")
	command.Stdout = &output
	ended, err := StartInside(path, command)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(output.String(), nodeLink) {
		t.Errorf("a process inside sees the links\n%s", output.String())
	}
}
