package controlplane_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

// TestServingCertificateReloads replaces the files as an updated Secret does.
func TestServingCertificateReloads(t *testing.T) {
	pki, authorities := testenv.NewPKIWithAuthorities(t)
	cp, _ := start(t, config.ControlPlane{PKIDirectory: pki, Store: config.Store{Type: config.StoreMemory}, ServiceRanges: []string{"10.96.0.0/16"}})
	t.Cleanup(func() { stop(t, cp) })
	renewed := authorities.Serving.Issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "renewed"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	renewed.Write(t, filepath.Join(pki, config.ServingCert), filepath.Join(pki, config.ServingKey))

	roots := x509.NewCertPool()
	roots.AddCert(authorities.Serving.Cert)
	server, err := url.Parse(cp.ClientConfig().Host)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the renewed certificate", func() error {
		connection, err := tls.Dial("tcp", server.Host, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
		if err != nil {
			return err
		}
		defer connection.Close()
		if shown := connection.ConnectionState().PeerCertificates[0].Subject.CommonName; shown != "renewed" {
			return errors.New("still " + shown)
		}
		return nil
	})
}
