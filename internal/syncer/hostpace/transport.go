package hostpace

import (
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// maxRefusal bounds what is read of the text of a refusal, so that its connection can be used again.
const maxRefusal = 4 << 10

// Wrap is for rest.Config.Wrap: it makes the calls of a connection to the host keep the pace.
func (p *Pace) Wrap(next http.RoundTripper) http.RoundTripper {
	return &transport{pace: p, next: next}
}

type transport struct {
	pace *Pace
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper. A call that the host has no room for ends in a BusyError.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := t.pace.begin(request.Context()); err != nil {
		if request.Body != nil {
			request.Body.Close()
		}
		return nil, err
	}
	began := time.Now()
	response, err := t.next.RoundTrip(request)
	if err != nil {
		t.pace.end(false)
		return nil, err
	}
	if isThrottled(response) {
		after := t.pace.throttle(began, retryAfter(response))
		// Only so that the connection can be used again: what has been read by now says all.
		_, _ = io.CopyN(io.Discard, response.Body, maxRefusal)
		response.Body.Close()
		return nil, &BusyError{After: after}
	}
	t.pace.end(response.StatusCode < http.StatusInternalServerError)
	// With it client-go would sleep and repeat the call, and a worker wait for it. The key comes again instead.
	response.Header.Del("Retry-After")
	return response, nil
}

// isThrottled tells whether the API server, or a proxy before it, turned a call away before it looked at it. An answer that
// is an object of the API comes from further inside, such as from a webhook, and is about the object that was sent.
func isThrottled(response *http.Response) bool {
	if response.StatusCode != http.StatusTooManyRequests {
		return false
	}
	media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	return err != nil || media == "text/plain" || media == "text/html"
}

func retryAfter(response *http.Response) time.Duration {
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
