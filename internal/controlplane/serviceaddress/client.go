package serviceaddress

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

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor/reservation"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/door"
)

// requestTimeout bounds one reservation. It is well under the API server's own minute, so that the caller gets a reason.
const requestTimeout = 10 * time.Second

// DoorClient asks the address door over mTLS.
type DoorClient struct{ http *http.Client }

// NewDoorClient returns a client of the door. Close it to end its idle connections.
func NewDoorClient(d door.Dialer) *DoorClient {
	transport := &http.Transport{
		DialTLSContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return d.Dial(ctx) },
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: requestTimeout,
	}
	return &DoorClient{http: &http.Client{
		Transport:     transport,
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close ends idle connections.
func (c *DoorClient) Close() { c.http.CloseIdleConnections() }

// Reserve implements Reserver. Its errors are API statuses that the tenant's user can be shown.
func (c *DoorClient) Reserve(ctx context.Context, request *reservation.Request) (*reservation.Response, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("encode the reservation: %w", err))
	}
	if len(body) > reservation.MaxBytes {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("the Service has more than %d bytes", reservation.MaxBytes))
	}
	// The address is the dialer's: the URL only names the path.
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://address-door"+reservation.Path, bytes.NewReader(body))
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	post.Header.Set("Content-Type", "application/json")
	answer, err := c.http.Do(post)
	if err != nil {
		return nil, unavailable(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, reservation.MaxBytes+1))
	if err != nil {
		return nil, unavailable(err)
	}
	return decode(answer.StatusCode, data)
}

func decode(code int, data []byte) (*reservation.Response, error) {
	if len(data) > reservation.MaxBytes {
		return nil, unavailable(fmt.Errorf("the answer has more than %d bytes", reservation.MaxBytes))
	}
	if code == http.StatusOK {
		response := &reservation.Response{}
		if err := json.Unmarshal(data, response); err != nil {
			return nil, unavailable(fmt.Errorf("decode the answer: %w", err))
		}
		return response, nil
	}
	status := metav1.Status{}
	if err := json.Unmarshal(data, &status); err != nil || status.Status != metav1.StatusFailure {
		return nil, unavailable(fmt.Errorf("the door answered %d", code))
	}
	return nil, &apierrors.StatusError{ErrStatus: status}
}

// unavailable tells the user that a retry can help; a controller retries by itself.
func unavailable(err error) error {
	return apierrors.NewServiceUnavailable(fmt.Sprintf(
		"the host cluster did not answer the reservation of the Service's addresses; try again: %v", err))
}
