package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"sync"

	"k8s.io/utils/clock"
)

// maxKubeletCertificates bounds what is remembered for one tenant; more nodes cost a signature per connection.
const maxKubeletCertificates = 1024

// KubeletCertificates makes the serving certificates that the kubelet door shows to one tenant's API server, one per
// node address. It is safe for concurrent use.
type KubeletCertificates struct {
	authority *Authority
	clock     clock.PassiveClock

	mu     sync.Mutex
	byNode map[string]*Renewing // protected by mu
}

// NewKubeletCertificates returns a maker of certificates of this kubelet CA.
func NewKubeletCertificates(authority *Authority, clock clock.PassiveClock) *KubeletCertificates {
	return &KubeletCertificates{authority: authority, clock: clock, byNode: map[string]*Renewing{}}
}

// Certificate is the serving certificate for a node's IP address.
func (k *KubeletCertificates) Certificate(nodeIP string) (*tls.Certificate, error) {
	ip := net.ParseIP(nodeIP)
	if ip == nil {
		return nil, fmt.Errorf("the node address %q is not an IP address", nodeIP)
	}
	return k.forNode(ip).Certificate()
}

func (k *KubeletCertificates) forNode(ip net.IP) *Renewing {
	k.mu.Lock()
	defer k.mu.Unlock()
	if renewing, ok := k.byNode[ip.String()]; ok {
		return renewing
	}
	if len(k.byNode) >= maxKubeletCertificates {
		clear(k.byNode)
	}
	renewing := NewRenewing(k.authority, Leaf{
		CommonName: "kubelet",
		IPs:        []net.IP{ip},
		Usage:      x509.ExtKeyUsageServerAuth,
		Life:       doorLife,
	}, k.clock)
	k.byNode[ip.String()] = renewing
	return renewing
}
