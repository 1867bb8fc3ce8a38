package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

const (
	doorLife = 24 * time.Hour

	identityScheme = "matryoshka"
	identityHost   = "virtualcluster"
)

// DoorClientLeaf is the identity of a virtual cluster's control plane at the doors: a URI with the UID of the
// VirtualCluster object. It lives one day.
func DoorClientLeaf(uid types.UID) Leaf {
	return Leaf{
		CommonName: "controlplane",
		URIs:       []*url.URL{{Scheme: identityScheme, Host: identityHost, Path: "/" + string(uid)}},
		Usage:      x509.ExtKeyUsageClientAuth,
		Life:       doorLife,
	}
}

// ErrNoIdentity is returned for a peer that is not the control plane of a virtual cluster.
var ErrNoIdentity = errors.New("the client certificate does not name a virtual cluster")

// DoorClient is the UID of the virtual cluster whose control plane is at the other end of a connection that was
// accepted with DoorServerConfig.
func DoorClient(state tls.ConnectionState) (types.UID, error) {
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return "", ErrNoIdentity
	}
	uris := state.VerifiedChains[0][0].URIs
	if len(uris) != 1 || uris[0].Scheme != identityScheme || uris[0].Host != identityHost {
		return "", ErrNoIdentity
	}
	uid, ok := strings.CutPrefix(uris[0].Path, "/")
	if !ok || uid == "" || strings.Contains(uid, "/") {
		return "", ErrNoIdentity
	}
	return types.UID(uid), nil
}

// DoorServerConfig is the TLS configuration of a door: its certificate carries the server names and is renewed by
// itself; a client must show a certificate of the same authority. Ask DoorClient who the client is.
func DoorServerConfig(door *Authority, serverNames []string, clock clock.PassiveClock) (*tls.Config, error) {
	if len(serverNames) == 0 {
		return nil, errors.New("a door needs a server name")
	}
	serving := NewRenewing(door, Leaf{
		CommonName: serverNames[0],
		DNSNames:   serverNames,
		Usage:      x509.ExtKeyUsageServerAuth,
		Life:       doorLife,
	}, clock)
	if _, err := serving.Certificate(); err != nil {
		return nil, fmt.Errorf("make the certificate of the doors: %w", err)
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		ClientAuth:     tls.RequireAndVerifyClientCert,
		ClientCAs:      door.Pool(),
		GetCertificate: serving.GetCertificate,
		Time:           clock.Now,
		// A session ticket would outlive the client certificate that it was given for.
		SessionTicketsDisabled: true,
	}, nil
}
