package faults

import (
	"context"
	"io"
	"net/http"
	"path"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
)

// Late makes watches tell later what they are told, so that caches are behind.
type Late struct {
	// By is how much later, for each resource by its plural name. Watches of others are in time.
	By map[string]time.Duration
	// IsOn tells whether it is so now.
	IsOn atomic.Bool
}

// Config is config with its watches under l.
func (l *Late) Config(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &lateTransport{late: l, next: next} })
	return config
}

type lateTransport struct {
	late *Late
	next http.RoundTripper
}

// WrappedRoundTripper lets the libraries of Kubernetes find what is behind.
func (t *lateTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip implements http.RoundTripper.
func (t *lateTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(request)
	by, isLate := t.late.By[path.Base(request.URL.Path)]
	if err == nil && isLate && request.URL.Query().Has("watch") {
		response.Body = newLateBody(request.Context(), response.Body, by, &t.late.IsOn)
	}
	return response, err
}

// piece is a part of a body and when it came.
type piece struct {
	at    time.Time
	bytes []byte
	err   error
}

// maxPieces bounds what is held back.
const maxPieces = 1000

// newLateBody hands on what body has some time after it has come, while isLate.
func newLateBody(ctx context.Context, body io.ReadCloser, by time.Duration, isLate *atomic.Bool) io.ReadCloser {
	pieces := make(chan piece, maxPieces)
	go collect(ctx, body, pieces)
	reader, writer := io.Pipe()
	go func() {
		defer func() { _ = writer.Close() }()
		for piece := range pieces {
			if isLate.Load() {
				select {
				case <-time.After(by - time.Since(piece.at)):
				case <-ctx.Done():
				}
			}
			if _, err := writer.Write(piece.bytes); err != nil {
				return
			}
			if piece.err != nil {
				writer.CloseWithError(piece.err)
				return
			}
		}
	}()
	return lateBody{reader, body}
}

// collect reads a body as it comes, so that the server does not wait.
func collect(ctx context.Context, body io.Reader, pieces chan<- piece) {
	defer close(pieces)
	for {
		buffer := make([]byte, 32<<10)
		n, err := body.Read(buffer)
		select {
		case pieces <- piece{time.Now(), buffer[:n], err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

type lateBody struct {
	*io.PipeReader
	body io.Closer
}

// Close implements io.Closer.
func (b lateBody) Close() error {
	_ = b.PipeReader.Close()
	return b.body.Close()
}
