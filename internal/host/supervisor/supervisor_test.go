package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

func TestAllowList(t *testing.T) {
	list, err := parseAllowList([]string{"registry.internal", "10.1.0.0/16", "192.168.0.7"})
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]bool{
		"example.org 203.0.113.9":        true,
		"example.org 10.0.0.1":           false,
		"example.org 10.1.2.3":           true,
		"example.org 127.0.0.1":          false,
		"example.org ::1":                false,
		"example.org 169.254.169.254":    false,
		"example.org 100.64.0.1":         false,
		"example.org ::ffff:10.0.0.1":    false,
		"example.org fd00::1":            false,
		"example.org 0.0.0.0":            false,
		"example.org 192.168.0.7":        true,
		"example.org 192.168.0.8":        false,
		"Registry.Internal 10.0.0.1":     true,
		"sub.registry.internal 10.0.0.1": false,
	} {
		host, address, _ := strings.Cut(target, " ")
		if got := list.allows(host, netip.MustParseAddr(address)); got != want {
			t.Errorf("allows(%s): %v, want %v", target, got, want)
		}
	}
	for _, bad := range []string{"", "https://registry", "registry:5000", "10.0.0.0/99"} {
		if _, err := parseAllowList([]string{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// newTestPulls is a forwarder on the loopback address.
func newTestPulls(t *testing.T, allowed ...string) *pulls {
	t.Helper()
	list, err := parseAllowList(allowed)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &pulls{listener: listener, allowed: list, logger: slog.New(slog.DiscardHandler), cancel: cancel}
	p.running.Go(func() { p.serve(ctx) })
	t.Cleanup(p.stop)
	return p
}

func TestPullsGoOutOnlyWhereTheyMay(t *testing.T) {
	registry, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	go func() {
		for {
			conn, err := registry.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello")
			conn.Close()
		}
	}()
	for name, c := range map[string]struct {
		allowed []string
		request string
		want    int
	}{
		"allowed":             {[]string{"127.0.0.0/8"}, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", http.StatusOK},
		"loopback":            {nil, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", http.StatusForbidden},
		"other methods":       {[]string{"127.0.0.0/8"}, "GET http://%s/ HTTP/1.1\r\nHost: %[1]s\r\n\r\n", http.StatusMethodNotAllowed},
		"nobody listens":      {[]string{"127.0.0.0/8"}, "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: %[1]s\r\n\r\n", http.StatusBadGateway},
		"target without port": {[]string{"127.0.0.0/8"}, "CONNECT 127.0.0.1 HTTP/1.1\r\nHost: %[1]s\r\n\r\n", http.StatusBadGateway},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTestPulls(t, c.allowed...)
			conn, err := net.Dial("tcp", p.address())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := fmt.Fprintf(conn, strings.ReplaceAll(c.request, "%[1]s", "x"), registry.Addr()); err != nil {
				t.Fatal(err)
			}
			reader := bufio.NewReader(conn)
			response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.StatusCode != c.want {
				t.Fatalf("answer %s, want %d", response.Status, c.want)
			}
			if c.want != http.StatusOK {
				return
			}
			if content, err := io.ReadAll(reader); err != nil || string(content) != "hello" {
				t.Errorf("read %q, %v", content, err)
			}
		})
	}
}

func TestLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	log.max = 100
	for i := range 50 {
		if _, err := fmt.Fprintf(log, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{path, path + ".1"} {
		info, err := os.Stat(name)
		if err != nil || info.Size() > 100 || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(string(content), "line 49\n") {
		t.Errorf("the log ends with %q, %v", content, err)
	}
}

func TestLastLineOfALog(t *testing.T) {
	log, err := openLog(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	for _, text := range []string{"", "one\n", "two\nthree\n", strings.Repeat("x", 2*maxLine) + "\nfour\n"} {
		if _, err := log.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if got, want := log.lastLine(), lines[len(lines)-1]; got != want {
			t.Errorf("last line %q, want %q", got, want)
		}
	}
}

func TestFirstServer(t *testing.T) {
	for content, want := range map[string]string{
		"nameserver 192.0.2.53\nnameserver 192.0.2.54\n": "192.0.2.53:53",
		"# nameserver 192.0.2.1\nsearch example.org\n":   "",
		"nameserver 127.0.0.53\n":                        "",
		"nameserver 127.0.0.53\nnameserver 192.0.2.2":    "192.0.2.2:53",
		"nameserver fe80::1\n":                           "",
		"":                                               "",
	} {
		if got := firstServer(content); got != want {
			t.Errorf("firstServer(%q) = %q, want %q", content, got, want)
		}
	}
}

func TestContainerdFindsItsOwnProgramsFirst(t *testing.T) {
	c := &containerd{options: control.Options{ProgramsDir: "/programs"}, proxy: "127.0.0.1:1"}
	environment := c.environment([]string{"PATH=/usr/bin", "https_proxy=http://elsewhere", "HOME=/root", "NOTIFY_SOCKET=/run/x"})
	for _, want := range []string{"PATH=/programs:/usr/bin", "HTTPS_PROXY=http://127.0.0.1:1", "HOME=/root"} {
		if !slices.Contains(environment, want) {
			t.Errorf("%s is missing in %v", want, environment)
		}
	}
	if text := strings.Join(environment, " "); strings.Contains(text, "elsewhere") || strings.Contains(text, "NOTIFY_SOCKET") {
		t.Errorf("containerd inherits %s", text)
	}
}

func TestRaiseLimitNeverLowers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limit")
	for before, want := range map[string]string{"128\n": "1000", "1000\n": "1000\n", "4096\n": "4096\n"} {
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := raiseLimit(path, 1000); err != nil {
			t.Fatal(err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != want {
			t.Errorf("from %q to %q, %v; want %q", before, after, err, want)
		}
	}
}

func TestPortInUseIsNamed(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	_, err = listen(t.Context(), control.Options{APIPort: port, FrontDoorPort: port})
	if err == nil || !strings.Contains(err.Error(), "--api-port") || !strings.Contains(err.Error(), fmt.Sprint(port)) {
		t.Errorf("error %v", err)
	}
}

func TestEndReasonPrefersWhatTheProcessSaid(t *testing.T) {
	said, exit := errors.New("the datastore is damaged"), errors.New("exit status 1")
	if got := endReason(said, exit); !errors.Is(got, said) {
		t.Errorf("reason %v", got)
	}
	if got := endReason(nil, exit); !errors.Is(got, exit) {
		t.Errorf("reason %v", got)
	}
	if got := endReason(nil, nil); got != nil {
		t.Errorf("reason %v", got)
	}
}
