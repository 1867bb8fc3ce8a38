package dooridentity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/dooridentity"
)

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return authority{certificate: sign(t, template, template, key, key), key: key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func (a authority) leaf(t *testing.T, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: time.Now().Add(-2 * time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(template)
	key := newKey(t)
	certificate := sign(t, template, a.certificate, key, a.key)
	return &tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key, Leaf: certificate}
}

func named(uids ...types.UID) func(*x509.Certificate) {
	return func(template *x509.Certificate) {
		for _, uid := range uids {
			template.URIs = append(template.URIs, dooridentity.URI(uid))
		}
	}
}

func TestHandshake(t *testing.T) {
	doorCA, foreignCA := newAuthority(t), newAuthority(t)
	cases := map[string]struct {
		client  *tls.Certificate
		want    types.UID
		refused bool // in the handshake itself
	}{
		"a virtual cluster": {client: doorCA.leaf(t, named("uid-a")), want: "uid-a"},
		"no name":           {client: doorCA.leaf(t, named())},
		"two names":         {client: doorCA.leaf(t, named("uid-a", "uid-b"))},
		"only a common name": {client: doorCA.leaf(t, func(c *x509.Certificate) {
			c.Subject.CommonName = "matryoshka://virtualcluster/uid-a"
		})},
		"another scheme": {client: doorCA.leaf(t, func(c *x509.Certificate) {
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "virtualcluster", Path: "/uid-a"}}
		})},
		"signed by another CA": {client: foreignCA.leaf(t, named("uid-a")), refused: true},
		"expired": {client: doorCA.leaf(t, func(c *x509.Certificate) {
			named("uid-a")(c)
			c.NotAfter = time.Now().Add(-time.Minute)
		}), refused: true},
		"for servers only": {client: doorCA.leaf(t, func(c *x509.Certificate) {
			named("uid-a")(c)
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), refused: true},
		"no certificate": {client: &tls.Certificate{}, refused: true},
	}
	serving := doorCA.leaf(t, func(c *x509.Certificate) {
		c.DNSNames = []string{"door"}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	pool := x509.NewCertPool()
	pool.AddCert(doorCA.certificate)
	config := dooridentity.ServerConfig(
		func() (*tls.Certificate, error) { return serving, nil },
		func() (*x509.CertPool, error) { return pool, nil },
	)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			defer far.Close()
			client := tls.Client(near, &tls.Config{
				RootCAs: pool, ServerName: "door",
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tc.client, nil },
			})
			go func() {
				_ = client.Handshake()
				// Read what the server says, or its alert would block on the pipe.
				_, _ = client.Read(make([]byte, 1))
			}()
			server := tls.Server(far, config)
			err := server.Handshake()
			if tc.refused {
				if err == nil {
					t.Fatal("the handshake succeeded")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			state := server.ConnectionState()
			got, err := dooridentity.FromConnection(&state)
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if tc.want == "" && !errors.Is(err, dooridentity.ErrNoIdentity) {
				t.Errorf("got error %v", err)
			}
		})
	}
}

func TestFromConnectionWithoutTLS(t *testing.T) {
	if _, err := dooridentity.FromConnection(nil); !errors.Is(err, dooridentity.ErrNoIdentity) {
		t.Errorf("no TLS: %v", err)
	}
	certificate := newAuthority(t).leaf(t, named("uid-a")).Leaf
	claimed := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}}
	if _, err := dooridentity.FromConnection(claimed); !errors.Is(err, dooridentity.ErrNoIdentity) {
		t.Errorf("an unverified certificate was believed: %v", err)
	}
}

func FuzzFromCertificate(f *testing.F) {
	f.Add("matryoshka://virtualcluster/uid-a")
	f.Add("matryoshka://virtualcluster/uid-a/../uid-b")
	f.Add("matryoshka://virtualcluster/uid%2da?x#y")
	f.Add("matryoshka://x@virtualcluster/uid-a")
	f.Fuzz(func(t *testing.T, name string) {
		parsed, err := url.Parse(name)
		if err != nil {
			return
		}
		uid, err := dooridentity.FromCertificate(&x509.Certificate{URIs: []*url.URL{parsed}})
		if err == nil && dooridentity.URI(uid).String() != parsed.String() {
			t.Errorf("%q was read as %q", name, uid)
		}
	})
}
