package engine

import (
	"errors"
	"fmt"
	"net"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostpace"
)

// Reasons of the events by which a tenant learns that an object is not on the host.
const (
	// ReasonHostRejected: the host's API server refused the copy (pod security, quota, a webhook, an unknown field).
	ReasonHostRejected = "HostRejected"
	// ReasonNameTaken: the host has an object of this name that is not this tenant's; it is never adopted.
	ReasonNameTaken = "NameTaken"
	// ReasonNotSupported: the object asks for something that a virtual cluster cannot have.
	ReasonNotSupported = "NotSupported"
	// ReasonLimitReached: the tenant has as much on the host as it may have.
	ReasonLimitReached = "LimitReached"
	// ReasonWaiting: something that the object refers to does not exist.
	ReasonWaiting = "Waiting"
)

// Refusal is an error that the tenant must be told about: the object stays, gets a Warning event, and is tried again
// with growing delay.
type Refusal struct {
	// Reason of the event, CamelCase.
	Reason string
	// Message says what, why and what to do; it must be fit for the tenant.
	Message string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Reason + ": " + r.Message }

// Refuse makes a Refusal.
func Refuse(reason, format string, values ...any) error {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, values...)}
}

// HostError is an error of the host's API server. The methods of Scope that write to the host return it.
type HostError struct {
	// Action is a short verb phrase, such as `create pod "web-0"`.
	Action string
	Err    error
}

// Error implements error.
func (e *HostError) Error() string { return "host: " + e.Action + ": " + e.Err.Error() }

// Unwrap implements errors.Unwrap.
func (e *HostError) Unwrap() error { return e.Err }

// isRejection tells whether the host looked at an object and said no, so that trying again soon is useless.
func isRejection(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsNotAcceptable(err) || apierrors.IsUnsupportedMediaType(err)
}

// told returns what the tenant must be told about an error; ok is false when it is none of its business.
func told(err error) (refusal *Refusal, ok bool) {
	if errors.As(err, &refusal) {
		return refusal, true
	}
	var hostError *HostError
	if !errors.As(err, &hostError) || !isRejection(hostError.Err) {
		return nil, false
	}
	return &Refusal{Reason: ReasonHostRejected, Message: hostError.Err.Error()}, true
}

// throttled tells whether the host has no room for a call now, and when to try again.
func throttled(err error) (after time.Duration, ok bool) {
	busy := (*hostpace.BusyError)(nil)
	if !errors.As(err, &busy) {
		return 0, false
	}
	return max(busy.After, retryFirst), true
}

// isRace tells whether an error only says that somebody else was faster: the key comes again and nobody is told.
func isRace(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }

// isUnreached tells whether an error says nothing about the object: the API server was not reached, or could not look at it.
func isUnreached(err error) bool {
	var netError net.Error
	return errors.As(err, &netError) || apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err)
}
