package pki

import (
	"crypto/tls"
	"fmt"
	"sync"

	"k8s.io/utils/clock"
)

// Renewing is a certificate that is kept in memory only and made anew in time, when somebody asks for it.
// It is safe for concurrent use.
type Renewing struct {
	authority *Authority
	leaf      Leaf
	clock     clock.PassiveClock

	mu      sync.Mutex
	current *tls.Certificate // protected by mu
}

// NewRenewing returns a source of certificates for the leaf. The first one is made when it is asked for.
func NewRenewing(authority *Authority, leaf Leaf, clock clock.PassiveClock) *Renewing {
	return &Renewing{authority: authority, leaf: leaf, clock: clock}
}

// Certificate returns a certificate that is valid now, with at least a third of its life ahead.
func (r *Renewing) Certificate() (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	if r.current != nil && isCurrent(r.current.Leaf, now) {
		return r.current, nil
	}
	pair, err := r.authority.Issue(r.leaf, now)
	if err != nil {
		return nil, err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return nil, fmt.Errorf("read back the certificate of %q: %w", r.leaf.CommonName, err)
	}
	r.current = &certificate
	return r.current, nil
}

// GetCertificate fits tls.Config.GetCertificate.
func (r *Renewing) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return r.Certificate()
}

// GetClientCertificate fits tls.Config.GetClientCertificate.
func (r *Renewing) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return r.Certificate()
}
