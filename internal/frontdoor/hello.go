package frontdoor

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// maxHello bounds what a client may send before its server name is known: a ClientHello with post-quantum key shares
// has about 2 KiB, and TLS allows 64 KiB.
const maxHello = 64 << 10

var errNoServerName = errors.New("the client sent no TLS server name")

// readServerName reads a TLS ClientHello and returns the server name in it together with all bytes read, which have
// to be passed on. It never writes.
func readServerName(ctx context.Context, reader io.Reader) (name string, hello []byte, err error) {
	recorder := &recorder{reader: io.LimitReader(reader, maxHello)}
	seen := false
	// crypto/tls does the parsing and stops as soon as it has understood the message.
	err = tls.Server(recorder, &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		name, seen = info.ServerName, true
		return nil, errors.New("seen enough")
	}}).HandshakeContext(ctx)
	hello = recorder.seen.Bytes()
	switch {
	case !seen:
		return "", hello, fmt.Errorf("read the TLS ClientHello: %w", err)
	case name == "":
		return "", hello, errNoServerName
	}
	return name, hello, nil
}

// recorder is a connection that remembers what was read from it and swallows what is written to it.
type recorder struct {
	reader io.Reader
	seen   bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.reader.Read(p)
	r.seen.Write(p[:n])
	return n, err
}

func (r *recorder) Write(p []byte) (int, error)      { return len(p), nil }
func (r *recorder) Close() error                     { return nil }
func (r *recorder) LocalAddr() net.Addr              { return nil }
func (r *recorder) RemoteAddr() net.Addr             { return nil }
func (r *recorder) SetDeadline(time.Time) error      { return nil }
func (r *recorder) SetReadDeadline(time.Time) error  { return nil }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

// TLS alerts, RFC 8446 section 6.
const (
	alertAccessDenied     = 49
	alertInternalError    = 80
	alertUnrecognizedName = 112
)

// alert is the TLS record of a fatal alert, as it may be sent before any key is agreed on. A client then says what is
// wrong rather than that the connection was closed.
func alert(description byte) []byte {
	const recordAlert, levelFatal = 21, 2
	return []byte{recordAlert, 3, 3, 0, 2, levelFatal, description}
}
