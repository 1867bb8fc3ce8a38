package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
)

// NewPKI writes a complete PKI folder of a control plane for 127.0.0.1 and returns its path. It goes with the test.
func NewPKI(t testing.TB) string {
	t.Helper()
	dir, _ := NewPKIWithAuthorities(t)
	return dir
}

// Authorities are the CAs of a PKI folder.
type Authorities struct{ Serving, Client, FrontProxy, Kubelet, Door *KeyPair }

// NewPKIWithAuthorities is NewPKI for tests that issue certificates of their own.
func NewPKIWithAuthorities(t testing.TB) (string, *Authorities) {
	t.Helper()
	dir := t.TempDir()
	serving, client := NewCA(t, "serving"), NewCA(t, "client")
	frontProxy, kubelet, door := NewCA(t, "front-proxy"), NewCA(t, "kubelet"), NewCA(t, "door")

	serving.WriteCert(t, filepath.Join(dir, config.ServingCA))
	client.Write(t, filepath.Join(dir, config.ClientCA), filepath.Join(dir, config.ClientCAKey))
	frontProxy.WriteCert(t, filepath.Join(dir, config.FrontProxyCA))
	kubelet.WriteCert(t, filepath.Join(dir, config.KubeletCA))
	door.WriteCert(t, filepath.Join(dir, config.DoorCA))

	server := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	serving.Issue(t, server).Write(t, filepath.Join(dir, config.ServingCert), filepath.Join(dir, config.ServingKey))
	proxy := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "front-proxy-client"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	frontProxy.Issue(t, proxy).Write(t, filepath.Join(dir, config.FrontProxyCert), filepath.Join(dir, config.FrontProxyKey))
	identity := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "door-client"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	door.Issue(t, identity).Write(t, filepath.Join(dir, config.DoorCert), filepath.Join(dir, config.DoorKey))
	writePEM(t, filepath.Join(dir, config.ServiceAccount), "EC PRIVATE KEY", marshalKey(t, newKey(t)))
	return dir, &Authorities{Serving: serving, Client: client, FrontProxy: frontProxy, Kubelet: kubelet, Door: door}
}

// KeyPair is a certificate with its key.
type KeyPair struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// NewCA returns a self-signed authority.
func NewCA(t testing.TB, name string) *KeyPair {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	return sign(t, template, template, key, key)
}

// Issue signs the template with a new key. Serial number, validity and key usage are filled in.
func (k *KeyPair) Issue(t testing.TB, template *x509.Certificate) *KeyPair {
	t.Helper()
	template.KeyUsage = x509.KeyUsageDigitalSignature
	return sign(t, template, k.Cert, newKey(t), k.Key)
}

// Write writes both files.
func (k *KeyPair) Write(t testing.TB, certPath, keyPath string) {
	t.Helper()
	k.WriteCert(t, certPath)
	writePEM(t, keyPath, "EC PRIVATE KEY", marshalKey(t, k.Key))
}

// WriteCert writes the certificate alone.
func (k *KeyPair) WriteCert(t testing.TB, path string) {
	t.Helper()
	writePEM(t, path, "CERTIFICATE", k.Cert.Raw)
}

func sign(t testing.TB, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *KeyPair {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatalf("serial number: %v", err)
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(24 * time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatalf("sign %q: %v", template.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("parse %q: %v", template.Subject.CommonName, err)
	}
	return &KeyPair{Cert: cert, Key: key}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("generate a key: %v", err)
	}
	return key
}

func marshalKey(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatalf("encode a key: %v", err)
	}
	return der
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	data := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
}
