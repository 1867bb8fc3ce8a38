// Package exit holds what matry tells a script when it ends: one table of exit codes, and the error that carries a
// code and the next command to run.
//
// It is not for printing results. Its invariant: every error of the CLI gets its code from CodeOf and its text from
// Message, so that the same mistake never ends in two ways.
package exit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Code is a process exit code of matry.
type Code int

// The exit codes. Table explains them.
const (
	OK          Code = 0
	Failed      Code = 1
	Usage       Code = 2
	NotFound    Code = 3
	Forbidden   Code = 4
	TimedOut    Code = 5
	Interrupted Code = 130
)

// Table is the documentation of the codes, in their order.
var Table = []struct {
	Code    Code
	Meaning string
}{
	{OK, "done"},
	{Failed, "failed; the message says what, why and what to do next"},
	{Usage, "the command was used wrongly: unknown flag, missing argument, bad value; nothing was changed"},
	{NotFound, "the object, or the host cluster, does not exist"},
	{Forbidden, "not logged in, or not allowed to do this"},
	{TimedOut, "waited in vain; what was asked for may still happen"},
	{Interrupted, "interrupted by the user"},
}

// Error is an error with the code that matry ends with and the command that helps. Next may be empty.
type Error struct {
	Code Code
	Err  error
	Next string
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Usagef is a usage error.
func Usagef(format string, args ...any) error {
	return &Error{Code: Usage, Err: fmt.Errorf(format, args...)}
}

// Silent ends matry with a code and prints nothing: a command that matry ran has said what there is to say.
func Silent(code Code) error {
	return &Error{Code: code, Err: errSilent}
}

var errSilent = errors.New("ended with an exit code of its own")

// WithNext adds the next command to an error and leaves its code as it is. Nil stays nil.
func WithNext(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Code: CodeOf(err), Err: err, Next: fmt.Sprintf(format, args...)}
}

// CodeOf says how matry ends after this error. A command that matry ran for the user passes its own code on.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	var own *Error
	if errors.As(err, &own) {
		return own.Code
	}
	var child *exec.ExitError
	if errors.As(err, &child) && child.ExitCode() > 0 {
		return Code(child.ExitCode())
	}
	if isFlagError(err) {
		return Usage
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Interrupted
	case errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		return TimedOut
	case apierrors.IsNotFound(err):
		return NotFound
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err), errors.Is(err, fs.ErrPermission):
		return Forbidden
	}
	return Failed
}

// isFlagError tells whether the arguments could not be parsed: a flag in front of a subcommand does not go through
// cobra's flag error function.
func isFlagError(err error) bool {
	var notExist *pflag.NotExistError
	var noValue *pflag.ValueRequiredError
	var badValue *pflag.InvalidValueError
	var badSyntax *pflag.InvalidSyntaxError
	return errors.As(err, &notExist) || errors.As(err, &noValue) || errors.As(err, &badValue) || errors.As(err, &badSyntax)
}
