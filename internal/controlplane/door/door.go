// Package door opens connections from a control plane to the doors of the agent.
//
// It knows the identity and the trust, not what is said inside. Invariants: TLS 1.3 in both directions, with the door
// CA as the only trust and the door certificate as the only identity; both are read from disk for each connection, so
// that a rotated certificate is used from the next connection on.
package door

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
)

// connectTimeout bounds the TCP connection and the TLS handshake together.
const connectTimeout = 10 * time.Second

// Dialer opens connections to one door.
type Dialer struct {
	// Address is the host:port of the door.
	Address string
	// ServerName that the door's certificate must carry.
	ServerName string
	// PKIDirectory holds the files named in package config.
	PKIDirectory string
}

// Dial connects and finishes the handshake. Its error is ErrNoAnswer.
func (d Dialer) Dial(ctx context.Context) (*tls.Conn, error) {
	tlsConfig, err := d.tlsConfig()
	if err != nil {
		return nil, NoAnswer(ctx, err)
	}
	inTime, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	dialer := tls.Dialer{NetDialer: &net.Dialer{KeepAlive: 30 * time.Second}, Config: tlsConfig}
	connection, err := dialer.DialContext(inTime, "tcp", d.Address)
	if err != nil {
		return nil, NoAnswer(ctx, fmt.Errorf("connect to the door at %s: %w", d.Address, err))
	}
	return connection.(*tls.Conn), nil
}

func (d Dialer) tlsConfig() (*tls.Config, error) {
	authority, err := os.ReadFile(filepath.Join(d.PKIDirectory, config.DoorCA))
	if err != nil {
		return nil, fmt.Errorf("read the door CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("the door CA %q holds no certificate", config.DoorCA)
	}
	identity, err := tls.LoadX509KeyPair(filepath.Join(d.PKIDirectory, config.DoorCert), filepath.Join(d.PKIDirectory, config.DoorKey))
	if err != nil {
		return nil, fmt.Errorf("read the door certificate: %w", err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		RootCAs:      roots,
		ServerName:   d.ServerName,
		Certificates: []tls.Certificate{identity},
		NextProtos:   []string{"http/1.1"},
	}, nil
}
