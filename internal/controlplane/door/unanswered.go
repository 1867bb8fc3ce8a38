package door

import (
	"context"
	"errors"

	"k8s.io/klog/v2"
)

// ErrNoAnswer says that a door was not reached, or did not answer as it should; asking again can help. It wraps nothing:
// tenants are shown it, and the errors of connections name the host's addresses.
var ErrNoAnswer = errors.New("the host cluster did not answer")

// NoAnswer logs why a door did not answer, for whoever runs the host, and returns ErrNoAnswer.
func NoAnswer(ctx context.Context, why error) error {
	isLogged, hasLeft := errors.Is(why, ErrNoAnswer), errors.Is(ctx.Err(), context.Canceled)
	if !isLogged && !hasLeft {
		klog.FromContext(ctx).Error(why, "A door of the agent did not answer")
	}
	return ErrNoAnswer
}
