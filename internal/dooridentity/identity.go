// Package dooridentity says which virtual cluster stands behind a TLS connection at one of the agent's doors.
//
// The only proof is a client certificate that the door CA has signed; it names exactly one virtual cluster, by a URI
// SAN matryoshka://virtualcluster/<UID>. The CA's key never leaves the agent. Common names, DNS names and the tenants'
// own CAs count for nothing: a tenant who owns its control plane can mint those. The package does not know whether
// that virtual cluster still exists; the doors ask tenants.Registry.
package dooridentity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

const (
	scheme = "matryoshka"
	host   = "virtualcluster"
)

// uidForm is what a UID may look like: strict enough that no escaping, path or query can hide in it.
var uidForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z-]{0,62}$`)

// ErrNoIdentity is returned, wrapped, for a certificate or connection that names no virtual cluster.
var ErrNoIdentity = errors.New("the client certificate names no virtual cluster")

// URI is the SAN that stands for a virtual cluster.
func URI(uid types.UID) *url.URL {
	return &url.URL{Scheme: scheme, Host: host, Path: "/" + string(uid)}
}

// FromCertificate reads the UID of the virtual cluster out of a certificate whose chain has been verified already.
func FromCertificate(certificate *x509.Certificate) (types.UID, error) {
	if len(certificate.URIs) != 1 {
		return "", fmt.Errorf("%w: it has %d URI names instead of 1", ErrNoIdentity, len(certificate.URIs))
	}
	name := certificate.URIs[0].String()
	uid, ok := strings.CutPrefix(name, scheme+"://"+host+"/")
	if !ok || !uidForm.MatchString(uid) {
		return "", fmt.Errorf("%w: its URI name %q has another form", ErrNoIdentity, name)
	}
	return types.UID(uid), nil
}

// FromConnection reads the UID of the virtual cluster that speaks on a connection of a server with ServerConfig.
func FromConnection(state *tls.ConnectionState) (types.UID, error) {
	if state == nil {
		return "", fmt.Errorf("%w: the connection is not TLS", ErrNoIdentity)
	}
	// PeerCertificates alone would be what the client claims; VerifiedChains is what the door CA vouches for.
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return "", fmt.Errorf("%w: no verified certificate was shown", ErrNoIdentity)
	}
	return FromCertificate(state.VerifiedChains[0][0])
}

// ServerConfig is the TLS configuration of a door. The serving certificate and the door CA are asked for at every
// handshake, so that both can be rotated; clientCAs must hold the door CA and nothing else.
func ServerConfig(certificate func() (*tls.Certificate, error), clientCAs func() (*x509.CertPool, error)) *tls.Config {
	base := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert,
		// A resumed session would skip the look at the certificate.
		SessionTicketsDisabled: true,
	}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		serving, err := certificate()
		if err != nil {
			return nil, fmt.Errorf("get the doors' serving certificate: %w", err)
		}
		pool, err := clientCAs()
		if err != nil {
			return nil, fmt.Errorf("get the door CA: %w", err)
		}
		config := base.Clone()
		config.GetConfigForClient = nil
		config.Certificates = []tls.Certificate{*serving}
		config.ClientCAs = pool
		return config, nil
	}
	return base
}
