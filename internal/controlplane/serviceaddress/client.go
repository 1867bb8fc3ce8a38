package serviceaddress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor/reservation"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/door"
)

// DoorClient asks the address door.
type DoorClient struct{ door *door.Client }

// NewDoorClient returns a Reserver that asks by a client, which stays the caller's.
func NewDoorClient(c *door.Client) *DoorClient { return &DoorClient{door: c} }

// Reserve implements Reserver. Its errors are API statuses that the tenant's user can be shown.
func (c *DoorClient) Reserve(ctx context.Context, request *reservation.Request) (*reservation.Response, error) {
	question, err := json.Marshal(request)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("encode the reservation: %w", err))
	}
	if len(question) > reservation.MaxBytes {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("the Service has more than %d bytes", reservation.MaxBytes))
	}
	response := &reservation.Response{}
	err = c.door.Ask(ctx, reservation.Path, question, response, reservation.MaxBytes)
	if errors.Is(err, door.ErrNoAnswer) {
		return nil, noAnswer(err)
	}
	if err != nil {
		return nil, err
	}
	return response, nil
}

// noAnswer is what a user is told. It says when to ask again, since clients repeat a refused write by themselves only
// then: an agent that is busy or being replaced would otherwise fail whoever makes a Service in that moment.
func noAnswer(err error) error {
	unavailable := apierrors.NewServiceUnavailable(fmt.Sprintf("reserve the Service's addresses: %v; try again", err))
	unavailable.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	return unavailable
}
