package kubeletdialer_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/door"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/kubeletdialer"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

const serverName = "matryoshka-agent.matryoshka-system.svc"

// kubeletDoor answers every CONNECT with one text and remembers who asked.
type kubeletDoor struct {
	answer string

	mu      sync.Mutex
	clients []string
}

// newDialer starts a door and returns a dialer to it, which knows the node worker-1 with 192.0.2.10.
func newDialer(t *testing.T, d *kubeletDoor) (*kubeletdialer.Dialer, *testenv.Authorities) {
	t.Helper()
	pki, authorities := testenv.NewPKIWithAuthorities(t)
	server := authorities.Door.Issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "door"}, DNSNames: []string{serverName}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	clients := x509.NewCertPool()
	clients.AddCert(authorities.Door.Cert)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
		Certificates: []tls.Certificate{{Certificate: [][]byte{server.Cert.Raw}, PrivateKey: server.Key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { d.serve(connection) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	nodes := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1"}}
	node.Status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeHostName, Address: "worker-1"}, {Type: corev1.NodeInternalIP, Address: "192.0.2.10"},
	}
	if err := nodes.Add(node); err != nil {
		t.Fatal(err)
	}
	return &kubeletdialer.Dialer{
		Door:  door.Dialer{Address: listener.Addr().String(), ServerName: serverName, PKIDirectory: pki},
		Nodes: corelisters.NewNodeLister(nodes),
	}, authorities
}

func (d *kubeletDoor) serve(connection net.Conn) {
	defer connection.Close()
	request, err := http.ReadRequest(bufio.NewReader(connection))
	if err != nil {
		return
	}
	d.mu.Lock()
	d.clients = append(d.clients, connection.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName+" "+request.Host)
	d.mu.Unlock()
	_, _ = io.WriteString(connection, d.answer)
	_, _ = io.Copy(io.Discard, connection)
}

func TestDial(t *testing.T) {
	cases := map[string]struct{ address, answer, named string }{
		"a node":                 {"192.0.2.10:10250", "HTTP/1.1 200 OK\r\n\r\n", ""},
		"another port":           {"192.0.2.10:9999", "HTTP/1.1 200 OK\r\n\r\n", ""},
		"an address of no node":  {"192.0.2.11:10250", "HTTP/1.1 200 OK\r\n\r\n", "no node has"},
		"a node's other address": {"worker-1:10250", "HTTP/1.1 200 OK\r\n\r\n", "no node has"},
		"refused":                {"192.0.2.10:10250", "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nnot yours", "not yours"},
		"not HTTP":               {"192.0.2.10:10250", "hello\r\n\r\n", "answer"},
		"data before TLS":        {"192.0.2.10:10250", "HTTP/1.1 200 OK\r\n\r\nhello", "before"},
		"an endless header":      {"192.0.2.10:10250", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20), "answer"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := &kubeletDoor{answer: c.answer}
			dialer, _ := newDialer(t, d)
			connection, err := dialer.Dial(t.Context(), "tcp", c.address)
			if c.named == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer connection.Close()
				if d.clients[0] != "door-client worker-1:10250" {
					t.Errorf("the door heard %q", d.clients)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.named) {
				t.Errorf("got %v, want %q in it", err, c.named)
			}
			if c.named == "no node has" && (!errors.Is(err, kubeletdialer.ErrUnknownNode) || len(d.clients) > 0) {
				t.Errorf("the door was asked: %q, %v", d.clients, err)
			}
		})
	}
}

func TestDoorIsNotNamed(t *testing.T) {
	dialer, _ := newDialer(t, &kubeletDoor{})
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dialer.Door.Address = listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := dialer.Dial(t.Context(), "tcp", "192.0.2.10:10250"); err == nil || err.Error() != door.ErrNoAnswer.Error() {
		t.Errorf("got %v, want %v", err, door.ErrNoAnswer)
	}
}

func TestRotatedIdentityIsUsedByTheNextConnection(t *testing.T) {
	d := &kubeletDoor{answer: "HTTP/1.1 200 OK\r\n\r\n"}
	dialer, authorities := newDialer(t, d)
	for _, identity := range []string{"first", "second"} {
		authorities.Door.Issue(t, &x509.Certificate{
			Subject: pkix.Name{CommonName: identity}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}).Write(t, filepath.Join(dialer.Door.PKIDirectory, config.DoorCert), filepath.Join(dialer.Door.PKIDirectory, config.DoorKey))
		connection, err := dialer.Dial(t.Context(), "tcp", "192.0.2.10:10250")
		if err != nil {
			t.Fatal(err)
		}
		if err := connection.Close(); err != nil {
			t.Error(err)
		}
	}
	if want := "first worker-1:10250,second worker-1:10250"; strings.Join(d.clients, ",") != want {
		t.Errorf("the door saw %q", d.clients)
	}
}

func TestOnlyTheDoorIsTrusted(t *testing.T) {
	d := &kubeletDoor{answer: "HTTP/1.1 200 OK\r\n\r\n"}
	dialer, _ := newDialer(t, d)
	dialer.Door.ServerName = "another.name"
	if _, err := dialer.Dial(t.Context(), "tcp", "192.0.2.10:10250"); err == nil {
		t.Error("a certificate of another name was accepted")
	}
	dialer.Door.ServerName = serverName
	testenv.NewCA(t, "stranger").WriteCert(t, filepath.Join(dialer.Door.PKIDirectory, config.DoorCA))
	if _, err := dialer.Dial(t.Context(), "tcp", "192.0.2.10:10250"); err == nil {
		t.Error("a door of another CA was accepted")
	}
}
