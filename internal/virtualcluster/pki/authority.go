package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	// backdate makes a new certificate valid by clocks that are behind the one that it was made by, as when one of the two has
	// taken local time for UTC. An authority is never made anew, so that one from the future would be useless until then.
	backdate = 24 * time.Hour
)

const (
	typeCertificate = "CERTIFICATE"
	typeECKey       = "EC PRIVATE KEY"
)

// Authority is a certificate authority with its key.
type Authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	certPEM     []byte
	keyPEM      []byte
}

// NewAuthority makes a self-signed authority that lives ten years from now.
func NewAuthority(commonName string, now time.Time) (*Authority, error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("make the key of authority %q: %w", commonName, err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, fmt.Errorf("make the serial number of authority %q: %w", commonName, err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             now.Add(-backdate).UTC(),
		NotAfter:              now.Add(authorityLife).UTC(),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign authority %q: %w", commonName, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back authority %q: %w", commonName, err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: der})
	return &Authority{certificate: certificate, key: key, certPEM: certPEM, keyPEM: keyPEM}, nil
}

// ParseAuthority reads an authority from PEM. The key must belong to the certificate.
func ParseAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	certificate, err := parseCertificate(certPEM)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	public, ok := certificate.PublicKey.(*ecdsa.PublicKey)
	if !ok || !public.Equal(key.Public()) {
		return nil, fmt.Errorf("the key does not belong to the certificate of %q", certificate.Subject.CommonName)
	}
	if !certificate.IsCA {
		return nil, fmt.Errorf("the certificate of %q is not an authority's", certificate.Subject.CommonName)
	}
	return &Authority{certificate: certificate, key: key, certPEM: certPEM, keyPEM: keyPEM}, nil
}

// CertificatePEM is the authority's certificate: what those who trust it are given.
func (a *Authority) CertificatePEM() []byte { return a.certPEM }

// KeyPEM is the authority's private key.
func (a *Authority) KeyPEM() []byte { return a.keyPEM }

// Pool holds this authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: typeECKey, Bytes: der}), nil
}

func newSerial() (*big.Int, error) {
	// 126 bits: positive, and within the 20 octets that RFC 5280 allows.
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
}

func parseCertificate(certPEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != typeCertificate {
		return nil, errors.New("no PEM block of a certificate")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse the certificate: %w", err)
	}
	return certificate, nil
}

func parseKey(keyPEM []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(keyPEM)
	if block == nil || block.Type != typeECKey {
		return nil, errors.New("no PEM block of an EC private key")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse the key: %w", err)
	}
	return key, nil
}
