package kubeletdoor

import (
	"errors"
	"io"
	"net/http"
)

var errTooMuch = errors.New("the tenant's API server answers too much")

// boundedTransport ends the answers of several requests, made one after the other, when together they are too long.
type boundedTransport struct {
	next http.RoundTripper
	left *int64
}

// RoundTrip implements http.RoundTripper.
func (b *boundedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(request)
	if err == nil {
		response.Body = &boundedBody{ReadCloser: response.Body, left: b.left}
	}
	return response, err
}

type boundedBody struct {
	io.ReadCloser
	left *int64
}

// Read fails when nothing is left: a list that is cut off must not look like a whole one.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if *b.left -= int64(n); *b.left < 0 {
		return 0, errTooMuch
	}
	return n, err
}
