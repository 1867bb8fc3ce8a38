package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"
)

// Leaf says what a certificate is for.
type Leaf struct {
	CommonName    string
	Organizations []string
	DNSNames      []string
	IPs           []net.IP
	URIs          []*url.URL
	// Usage is the certificate's one purpose. Required: x509.ExtKeyUsageServerAuth or x509.ExtKeyUsageClientAuth.
	Usage x509.ExtKeyUsage
	// Life of the certificate from the moment it is made. Required; more than half of backdate, or it is due for renewal at once.
	Life time.Duration
}

// Pair is a certificate and its key, in PEM.
type Pair struct {
	CertPEM []byte
	KeyPEM  []byte
}

// TLS is the pair as crypto/tls wants it.
func (p Pair) TLS() (tls.Certificate, error) { return tls.X509KeyPair(p.CertPEM, p.KeyPEM) }

// Issue makes a certificate with a new key. It never outlives the authority.
func (a *Authority) Issue(leaf Leaf, now time.Time) (Pair, error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return Pair{}, fmt.Errorf("make the key of %q: %w", leaf.CommonName, err)
	}
	serial, err := newSerial()
	if err != nil {
		return Pair{}, fmt.Errorf("make the serial number of %q: %w", leaf.CommonName, err)
	}
	notAfter := now.Add(leaf.Life)
	if notAfter.After(a.certificate.NotAfter) {
		notAfter = a.certificate.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: leaf.CommonName, Organization: leaf.Organizations},
		NotBefore:    now.Add(-backdate).UTC(),
		NotAfter:     notAfter.UTC(),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{leaf.Usage},
		DNSNames:     leaf.DNSNames,
		IPAddresses:  leaf.IPs,
		URIs:         leaf.URIs,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("sign the certificate of %q: %w", leaf.CommonName, err)
	}
	return Pair{CertPEM: pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: der}), KeyPEM: keyPEM}, nil
}

// Ensure returns the current pair as long as it is good for the leaf at this moment, otherwise a new one.
func (a *Authority) Ensure(current Pair, leaf Leaf, now time.Time) (Pair, error) {
	if a.isGood(current, leaf, now) {
		return current, nil
	}
	return a.Issue(leaf, now)
}

// isGood tells whether a pair may stay: it is whole, signed by this authority, says what the leaf says, and has not
// used up two thirds of its life.
func (a *Authority) isGood(pair Pair, leaf Leaf, now time.Time) bool {
	if _, err := pair.TLS(); err != nil {
		return false
	}
	certificate, err := parseCertificate(pair.CertPEM)
	if err != nil || certificate.CheckSignatureFrom(a.certificate) != nil {
		return false
	}
	return leaf.describes(certificate) && isCurrent(certificate, now)
}

func (l Leaf) describes(certificate *x509.Certificate) bool {
	return certificate.Subject.CommonName == l.CommonName &&
		slices.Equal(certificate.Subject.Organization, l.Organizations) &&
		slices.Equal(certificate.DNSNames, l.DNSNames) &&
		slices.EqualFunc(certificate.IPAddresses, l.IPs, net.IP.Equal) &&
		slices.EqualFunc(certificate.URIs, l.URIs, func(a, b *url.URL) bool { return a.String() == b.String() }) &&
		slices.Equal(certificate.ExtKeyUsage, []x509.ExtKeyUsage{l.Usage})
}

// isCurrent tells whether a certificate need not be made anew. One that is not valid yet was made by a clock that was ahead.
func isCurrent(certificate *x509.Certificate, now time.Time) bool {
	return now.Before(RenewAt(certificate)) && !now.Before(certificate.NotBefore)
}

// RenewAt is the moment when two thirds of the certificate's life have passed, the day before it was made included: one that lives for
// a day has 16 hours ahead then, for clocks that are ahead.
func RenewAt(certificate *x509.Certificate) time.Time {
	life := certificate.NotAfter.Sub(certificate.NotBefore)
	return certificate.NotBefore.Add(life / 3 * 2)
}

// EarliestRenewal is the first moment at which one of these files must be made anew: leaf certificates at two thirds
// of their life. Files that hold no certificate, and those of authorities, do not count. Zero when nothing does.
func EarliestRenewal(files map[string][]byte) time.Time {
	var earliest time.Time
	for _, content := range files {
		if !bytes.Contains(content, []byte(typeCertificate)) {
			continue
		}
		certificate, err := parseCertificate(content)
		if err != nil || certificate.IsCA {
			continue
		}
		if at := RenewAt(certificate); earliest.IsZero() || at.Before(earliest) {
			earliest = at
		}
	}
	return earliest
}
