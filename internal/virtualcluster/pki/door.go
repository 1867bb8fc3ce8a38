package pki

import (
	"crypto/x509"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/matryoshka-dev/matryoshka/internal/dooridentity"
)

const doorLife = 24 * time.Hour

// DoorClientLeaf is the identity of a virtual cluster's control plane at the doors: a URI with the UID of the
// VirtualCluster object. It lives one day.
func DoorClientLeaf(uid types.UID) Leaf {
	return Leaf{
		CommonName: "controlplane",
		URIs:       []*url.URL{dooridentity.URI(uid)},
		Usage:      x509.ExtKeyUsageClientAuth,
		Life:       doorLife,
	}
}

// NewDoorServing is the serving certificate of the doors, for these server names.
func NewDoorServing(door *Authority, serverNames []string, clock clock.PassiveClock) *Renewing {
	return NewRenewing(door, Leaf{
		CommonName: "doors",
		DNSNames:   serverNames,
		Usage:      x509.ExtKeyUsageServerAuth,
		Life:       doorLife,
	}, clock)
}
