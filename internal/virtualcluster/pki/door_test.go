package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/matryoshka-dev/matryoshka/internal/dooridentity"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

const doorName = "matryoshka-agent.matryoshka-system.svc"

// handshake connects a client to a door and returns what the door knows about the client.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	if err := near.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		defer near.Close()
		if tls.Client(near, client).Handshake() == nil {
			// In TLS 1.3 the server judges the client after the client has finished: keep the pipe open for it.
			_, _ = near.Read(make([]byte, 1))
		}
	}()
	conn := tls.Server(far, server)
	err := conn.Handshake()
	far.Close()
	<-finished
	return conn.ConnectionState(), err
}

func serverConfig(door *pki.Authority, at clock.PassiveClock) *tls.Config {
	serving := pki.NewDoorServing(door, []string{doorName}, at)
	config := dooridentity.ServerConfig(serving.Certificate, func() (*x509.CertPool, error) { return door.Pool(), nil })
	config.Time = at.Now
	return config
}

func clientConfig(t *testing.T, roots, issuer *pki.Authority, leaf pki.Leaf, at clock.PassiveClock) *tls.Config {
	t.Helper()
	pair, err := issuer.Issue(leaf, at.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{RootCAs: roots.Pool(), ServerName: doorName, Certificates: []tls.Certificate{certificate}, Time: at.Now}
}

func TestDoorKnowsItsClient(t *testing.T) {
	at := clocktesting.NewFakePassiveClock(start)
	door := newDoor(t)
	server := serverConfig(door, at)
	client := clientConfig(t, door, door, pki.DoorClientLeaf("4f6c2c7e-0001"), at)
	state, err := handshake(t, server, client)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := dooridentity.FromConnection(&state)
	if err != nil || uid != "4f6c2c7e-0001" {
		t.Errorf("got %q, %v, want the UID of the client certificate", uid, err)
	}
}

func TestDoorRefusesOthers(t *testing.T) {
	door, tenant := newDoor(t), newTenant(t)
	serverLeaf := pki.DoorClientLeaf("u")
	serverLeaf.Usage = x509.ExtKeyUsageServerAuth
	cases := map[string]struct {
		reason string
		issuer *pki.Authority
		leaf   pki.Leaf
		age    time.Duration
	}{
		"TenantCA":  {reason: "a tenant owns its client CA", issuer: tenant.Client, leaf: pki.DoorClientLeaf("u")},
		"Expired":   {reason: "a door certificate lives one day", issuer: door, leaf: pki.DoorClientLeaf("u"), age: 25 * time.Hour},
		"ServerUse": {reason: "a certificate serves one purpose", issuer: door, leaf: serverLeaf},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			at := clocktesting.NewFakePassiveClock(start)
			client := clientConfig(t, door, tc.issuer, tc.leaf, at)
			at.SetTime(start.Add(tc.age))
			server := serverConfig(door, at)
			if _, err := handshake(t, server, client); err == nil {
				t.Errorf("the door let the client in, but %s", tc.reason)
			}
		})
	}
}

func TestDoorCertificateIsRenewed(t *testing.T) {
	at := clocktesting.NewFakePassiveClock(start)
	door := newDoor(t)
	server := serverConfig(door, at)
	at.SetTime(start.Add(100 * 24 * time.Hour))
	client := clientConfig(t, door, door, pki.DoorClientLeaf("u"), at)
	if _, err := handshake(t, server, client); err != nil {
		t.Errorf("after 100 days: %v", err)
	}
}

// Door and client need not agree on the time, nor with the clock that the authority was made by.
func TestDoorAndClientOfOtherClocks(t *testing.T) {
	door := newDoor(t)
	for name, ahead := range map[string]time.Duration{"Ahead": 14 * time.Hour, "Behind": -14 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			right, other := clocktesting.NewFakePassiveClock(start), clocktesting.NewFakePassiveClock(start.Add(ahead))
			client := clientConfig(t, door, door, pki.DoorClientLeaf("u"), right)
			if _, err := handshake(t, serverConfig(door, other), client); err != nil {
				t.Errorf("the door's clock is wrong: %v", err)
			}
			client = clientConfig(t, door, door, pki.DoorClientLeaf("u"), other)
			if _, err := handshake(t, serverConfig(door, right), client); err != nil {
				t.Errorf("the client's clock is wrong: %v", err)
			}
		})
	}
}

func TestDoorCertificateThatWasMadeDaysAheadIsReplaced(t *testing.T) {
	at := clocktesting.NewFakePassiveClock(start.Add(3 * 24 * time.Hour))
	serving := pki.NewDoorServing(newDoor(t), []string{doorName}, at)
	if _, err := serving.Certificate(); err != nil {
		t.Fatal(err)
	}
	at.SetTime(start)
	certificate, err := serving.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	if start.Before(certificate.Leaf.NotBefore) {
		t.Errorf("at %s it is valid from %s", start, certificate.Leaf.NotBefore)
	}
}

func TestKubeletCertificates(t *testing.T) {
	at := clocktesting.NewFakePassiveClock(start)
	tenant := newTenant(t)
	kubelets := pki.NewKubeletCertificates(tenant.Kubelet, at)
	first, err := kubelets.Certificate("10.0.0.7")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Leaf.Verify(x509.VerifyOptions{DNSName: "10.0.0.7", Roots: tenant.Kubelet.Pool(), CurrentTime: start}); err != nil {
		t.Error(err)
	}
	if second, _ := kubelets.Certificate("10.0.0.7"); second != first {
		t.Error("the certificate was not remembered")
	}
	at.SetTime(start.Add(17 * time.Hour))
	if third, _ := kubelets.Certificate("10.0.0.7"); third == first {
		t.Error("the certificate was not renewed")
	}
	if _, err := kubelets.Certificate("node-1"); err == nil {
		t.Error("a node name was taken for an address")
	}
}
