// Package pki makes the keys and certificates of an embedded host and the kubeconfigs that use them.
//
// The certificate authorities are made once and live in the data folder; everything that they sign is made again at every
// start, so that nothing has to be rotated while the host runs. Its invariants: keys are readable by root only, and a file
// is either complete or not there.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	authorityLife = 20 * 365 * 24 * time.Hour
	// Longer than a development host runs without a restart.
	certificateLife = 5 * 365 * 24 * time.Hour
	// clockSkew lets certificates be valid on a machine whose clock is behind, after it was suspended or because it has taken local
	// time for UTC.
	clockSkew = 24 * time.Hour
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// request says what a certificate is for.
type request struct {
	commonName   string
	organization []string
	dnsNames     []string
	addresses    []net.IP
	usage        x509.ExtKeyUsage
}

// loadAuthority reads the authority of this name from the folder, or makes it when there is none.
func loadAuthority(folder, name string) (*authority, error) {
	certPath, keyPath := filepath.Join(folder, name+".crt"), filepath.Join(folder, name+".key")
	certPEM, certErr := os.ReadFile(certPath)
	keyPEM, keyErr := os.ReadFile(keyPath)
	if errors.Is(certErr, fs.ErrNotExist) {
		return newAuthority(certPath, keyPath, name)
	}
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, fmt.Errorf("read the certificate authority %q: %w", name, err)
	}
	certificate, err := parseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate authority %s: %w; restore the file, or remove the data folder to start anew", certPath, err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("key of the certificate authority %s: %w; restore the file, or remove the data folder to start anew", keyPath, err)
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, fmt.Errorf("certificate authority %s: the key beside it is another one's; restore both, or remove the data folder to start anew", certPath)
	}
	return &authority{certificate: certificate, key: key}, nil
}

func newAuthority(certPath, keyPath, name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	template, err := newTemplate(pkix.Name{CommonName: "matryoshka-" + name}, authorityLife)
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate authority %q: %w", name, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back the certificate authority %q: %w", name, err)
	}
	// The certificate last: its being there says that the key is there too.
	if err := writeKey(keyPath, key); err != nil {
		return nil, err
	}
	if err := writeFile(certPath, certificatePEM(der), 0o644); err != nil {
		return nil, err
	}
	return &authority{certificate: certificate, key: key}, nil
}

// sign makes a key and a certificate for it, and returns both in PEM.
func (a *authority) sign(r request) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	template, err := newTemplate(pkix.Name{CommonName: r.commonName, Organization: r.organization}, certificateLife)
	if err != nil {
		return nil, nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{r.usage}
	template.DNSNames, template.IPAddresses = r.dnsNames, r.addresses
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %q: %w", r.commonName, err)
	}
	keyPEM, err = encodeKey(key)
	if err != nil {
		return nil, nil, err
	}
	return certificatePEM(der), keyPEM, nil
}

func newTemplate(subject pkix.Name, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: subject,
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(life),
		BasicConstraintsValid: true,
	}, nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	content, err := encodeKey(key)
	if err != nil {
		return err
	}
	return writeFile(path, content, 0o600)
}

func parseCertificate(content []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(content)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

func parseKey(content []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(content)
	if block == nil || block.Type != "EC PRIVATE KEY" {
		return nil, errors.New("no elliptic curve key in PEM")
	}
	return x509.ParseECPrivateKey(block.Bytes)
}

// writeFile replaces a file in one step and syncs it: a switched-off machine must not find half a key.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	next := path + ".next"
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
