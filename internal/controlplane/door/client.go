package door

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// requestTimeout bounds one question. It is well under the API server's own minute, so that the caller gets a reason.
const requestTimeout = 10 * time.Second

// Client asks a door questions over HTTP, in JSON.
type Client struct{ http *http.Client }

// NewClient returns a client of the door. Close it to end its idle connections.
func NewClient(d Dialer) *Client {
	transport := &http.Transport{
		DialTLSContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return d.Dial(ctx) },
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: requestTimeout,
	}
	return &Client{http: &http.Client{
		Transport:     transport,
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ask sends the question, already in JSON, and decodes an answer of at most so many bytes. Its error is the API status that
// the door answered with, or ErrNoAnswer.
func (c *Client) Ask(ctx context.Context, path string, question []byte, answer any, maxBytes int64) error {
	// The address is the dialer's: the URL only names the path.
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://door"+path, bytes.NewReader(question))
	if err != nil {
		return fmt.Errorf("ask the door: %w", err)
	}
	post.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(post)
	if err != nil {
		return NoAnswer(ctx, err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxBytes+1))
	if err != nil {
		return NoAnswer(ctx, err)
	}
	if int64(len(data)) > maxBytes {
		return NoAnswer(ctx, fmt.Errorf("the answer has more than %d bytes", maxBytes))
	}
	return decode(ctx, response.StatusCode, data, answer)
}

func decode(ctx context.Context, code int, data []byte, answer any) error {
	if code == http.StatusOK {
		if err := json.Unmarshal(data, answer); err != nil {
			return NoAnswer(ctx, fmt.Errorf("decode the answer: %w", err))
		}
		return nil
	}
	status := metav1.Status{}
	if err := json.Unmarshal(data, &status); err != nil || status.Status != metav1.StatusFailure {
		return NoAnswer(ctx, fmt.Errorf("the door answered %d", code))
	}
	return &apierrors.StatusError{ErrStatus: status}
}
