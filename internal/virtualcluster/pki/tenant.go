package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

const (
	leafLife          = 90 * 24 * time.Hour
	administratorLife = 365 * 24 * time.Hour
)

// Files of the Secret that only the agent reads, beside those whose names package config defines.
const (
	servingCAKey    = "serving-ca.key"
	frontProxyCAKey = "front-proxy-ca.key"
	kubeletCAKey    = "kubelet-ca.key"
	// renewalKey names the file that says which renewal the credentials are of.
	renewalKey = "renewal"
)

// Names says what a tenant's certificates speak of.
type Names struct {
	// UID of the VirtualCluster object: the tenant's identity at the doors. Required.
	UID types.UID
	// ID of the virtual cluster. Required.
	ID string
	// ServiceAddresses are the ClusterIPs of the control plane's host Service.
	ServiceAddresses []string
	// ClusterDomain of the tenant. Empty means "cluster.local".
	ClusterDomain string
}

// Tenant holds the authorities of one virtual cluster, with their keys, and its ServiceAccount key.
type Tenant struct {
	Serving    *Authority
	Client     *Authority
	FrontProxy *Authority
	Kubelet    *Authority

	serviceAccountKey []byte
	renewal           string
}

// EnsureTenant reads the authorities from files, the content of the agent's own Secret, and makes those that are
// missing. Broken ones are an error: making them anew would lock out everybody who trusts them.
func EnsureTenant(files map[string][]byte, id string, now time.Time) (*Tenant, error) {
	tenant := Tenant{renewal: string(files[renewalKey])}
	for _, entry := range []struct {
		authority **Authority
		purpose   string
		cert, key string
	}{
		{&tenant.Serving, "serving", config.ServingCA, servingCAKey},
		{&tenant.Client, "client", config.ClientCA, config.ClientCAKey},
		{&tenant.FrontProxy, "front-proxy", config.FrontProxyCA, frontProxyCAKey},
		{&tenant.Kubelet, "kubelet", config.KubeletCA, kubeletCAKey},
	} {
		authority, err := ensureAuthority(files[entry.cert], files[entry.key], id+" "+entry.purpose, now)
		if err != nil {
			return nil, fmt.Errorf("read %s and %s: %w", entry.cert, entry.key, err)
		}
		*entry.authority = authority
	}
	if err := tenant.ensureServiceAccountKey(files[config.ServiceAccount]); err != nil {
		return nil, fmt.Errorf("read %s: %w", config.ServiceAccount, err)
	}
	return &tenant, nil
}

// ParseTenant reads the authorities from files, the content of the agent's own Secret. A missing one is an error.
func ParseTenant(files map[string][]byte) (*Tenant, error) {
	for _, name := range []string{config.ServingCA, config.ClientCA, config.FrontProxyCA, config.KubeletCA, config.ServiceAccount} {
		if len(files[name]) == 0 {
			return nil, fmt.Errorf("%s is missing", name)
		}
	}
	// Nothing is missing, so nothing is made and the time does not matter.
	return EnsureTenant(files, "", time.Time{})
}

func ensureAuthority(certPEM, keyPEM []byte, commonName string, now time.Time) (*Authority, error) {
	if len(certPEM) == 0 && len(keyPEM) == 0 {
		return NewAuthority("matryoshka "+commonName, now)
	}
	return ParseAuthority(certPEM, keyPEM)
}

func (t *Tenant) ensureServiceAccountKey(current []byte) error {
	if len(current) != 0 {
		_, err := parseKey(current)
		t.serviceAccountKey = current
		return err
	}
	_, keyPEM, err := newKey()
	t.serviceAccountKey = keyPEM
	return err
}

// Lacks tells whether a renewal has to be done. Renewals have names and no order: whoever may ask for one must not be able to name one
// after which there is no other. Empty is none.
func (t *Tenant) Lacks(renewal string) bool { return renewal != "" && renewal != t.renewal }

// Renew makes anew what people and programs of a tenant are known by, its client CA and its ServiceAccount key, if it lacks this
// renewal. What they know the tenant's API server by stays.
func (t *Tenant) Renew(renewal, id string, now time.Time) error {
	if !t.Lacks(renewal) {
		return nil
	}
	authority, err := ensureAuthority(nil, nil, id+" client", now)
	if err != nil {
		return err
	}
	if err := t.ensureServiceAccountKey(nil); err != nil {
		return err
	}
	t.Client, t.renewal = authority, renewal
	return nil
}

// Renewal is the one that the credentials are of; empty when they are the first.
func (t *Tenant) Renewal() string { return t.renewal }

// TokenKeyID is how tokens of the tenant's ServiceAccounts name the key that they are signed by, as Kubernetes derives it: the
// SHA-256 of the public key in base64url.
func (t *Tenant) TokenKeyID() (string, error) {
	key, err := parseKey(t.serviceAccountKey)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// AgentFiles is the content of the Secret that only the agent reads: every authority with its key.
func (t *Tenant) AgentFiles() map[string][]byte {
	files := map[string][]byte{
		config.ServingCA:      t.Serving.certPEM,
		servingCAKey:          t.Serving.keyPEM,
		config.ClientCA:       t.Client.certPEM,
		config.ClientCAKey:    t.Client.keyPEM,
		config.FrontProxyCA:   t.FrontProxy.certPEM,
		frontProxyCAKey:       t.FrontProxy.keyPEM,
		config.KubeletCA:      t.Kubelet.certPEM,
		kubeletCAKey:          t.Kubelet.keyPEM,
		config.ServiceAccount: t.serviceAccountKey,
	}
	if t.renewal != "" {
		files[renewalKey] = []byte(t.renewal)
	}
	return files
}

// ControlPlaneFiles is the content of the Secret that is mounted into the control plane. What is good in current
// is kept.
func (t *Tenant) ControlPlaneFiles(current map[string][]byte, names Names, door *Authority, now time.Time) (map[string][]byte, error) {
	files := map[string][]byte{
		config.ServingCA:      t.Serving.certPEM,
		config.ClientCA:       t.Client.certPEM,
		config.ClientCAKey:    t.Client.keyPEM,
		config.FrontProxyCA:   t.FrontProxy.certPEM,
		config.ServiceAccount: t.serviceAccountKey,
		config.KubeletCA:      t.Kubelet.certPEM,
		config.DoorCA:         door.certPEM,
	}
	for _, entry := range []struct {
		authority *Authority
		leaf      Leaf
		cert, key string
	}{
		{t.Serving, servingLeaf(names), config.ServingCert, config.ServingKey},
		{t.FrontProxy, frontProxyLeaf(), config.FrontProxyCert, config.FrontProxyKey},
		{door, DoorClientLeaf(names.UID), config.DoorCert, config.DoorKey},
	} {
		pair, err := entry.authority.Ensure(Pair{CertPEM: current[entry.cert], KeyPEM: current[entry.key]}, entry.leaf, now)
		if err != nil {
			return nil, fmt.Errorf("make %s: %w", entry.cert, err)
		}
		files[entry.cert], files[entry.key] = pair.CertPEM, pair.KeyPEM
	}
	return files, nil
}

// Fingerprint changes when an authority or the ServiceAccount key was replaced: what a running control plane does not
// take up without a restart.
func (t *Tenant) Fingerprint() string {
	sum := sha256.Sum256(bytes.Join([][]byte{
		t.Serving.certPEM, t.Client.certPEM, t.FrontProxy.certPEM, t.Kubelet.certPEM, t.serviceAccountKey,
	}, nil))
	return hex.EncodeToString(sum[:16])
}

func servingLeaf(names Names) Leaf {
	domain := names.ClusterDomain
	if domain == "" {
		domain = "cluster.local"
	}
	leaf := Leaf{
		CommonName: "kube-apiserver",
		DNSNames: []string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + domain,
			mapping.ServerName(names.ID), "localhost",
		},
		IPs:   []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		Usage: x509.ExtKeyUsageServerAuth,
		Life:  leafLife,
	}
	for _, address := range names.ServiceAddresses {
		leaf.IPs = append(leaf.IPs, net.ParseIP(address))
	}
	return leaf
}

func frontProxyLeaf() Leaf {
	return Leaf{CommonName: "front-proxy-client", Usage: x509.ExtKeyUsageClientAuth, Life: leafLife}
}

// MastersLeaf is the agent's own identity at a tenant's API server. system:masters is exempt from the tenant's
// authorization and flow control, so a tenant cannot lock the agent out.
func MastersLeaf() Leaf {
	return Leaf{
		CommonName:    "matryoshka:agent",
		Organizations: []string{"system:masters"},
		Usage:         x509.ExtKeyUsageClientAuth,
		// It is in the agent's memory only, and its renewal interrupts every watch.
		Life: 30 * 24 * time.Hour,
	}
}

// AdministratorLeaf is the identity in the kubeconfig of a virtual cluster's owner.
func AdministratorLeaf() Leaf {
	return Leaf{
		CommonName:    "matryoshka:administrator",
		Organizations: []string{"system:masters"},
		Usage:         x509.ExtKeyUsageClientAuth,
		Life:          administratorLife,
	}
}
