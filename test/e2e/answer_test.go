package e2e

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
)

// What kubectl prints when it has no answer, and when the API server's answer is to come again.
var (
	connectionFailed = regexp.MustCompile(`TLS handshake timeout|connection refused|was refused - did you specify|: (unexpected )?EOF|connection reset by peer|i/o timeout`)
	comeAgain        = regexp.MustCompile(`Error from server \((TooManyRequests|ServiceUnavailable|ServerTimeout|Timeout)\)`)
)

// unanswered tells whether an error, of a client or of a command, says nothing about the request: the connection failed, or the API
// server had no room for it.
func unanswered(err error) bool {
	var command *exec.ExitError
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &command):
		// An answer may tell of a connection that failed elsewhere, as to a webhook.
		if text := err.Error(); !strings.Contains(text, "Error from server") {
			return connectionFailed.MatchString(text)
		}
		return comeAgain.MatchString(err.Error())
	case errors.As(err, &status):
		return apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err)
	}
	return utilnet.IsTimeout(err) || utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err)
}

// untilAnswered makes a request again while it is unanswered. Whatever the answer is, it is the caller's.
func untilAnswered(ctx context.Context, atMost time.Duration, request func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, atMost, true, func(ctx context.Context) (bool, error) {
		last = request(ctx)
		return !unanswered(last), nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return last
}

// untilDone is untilAnswered for what can be done once: a request without an answer may have been carried out, which the next one
// sees by an error such as AlreadyExists.
func untilDone(ctx context.Context, wasDone func(error) bool, request func(context.Context) error) error {
	isRepeated := false
	return untilAnswered(ctx, startTimeout, func(ctx context.Context) error {
		err := request(ctx)
		if isRepeated && wasDone(err) {
			return nil
		}
		isRepeated = true
		return err
	})
}
