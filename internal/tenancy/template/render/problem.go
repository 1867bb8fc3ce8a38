package render

import (
	"errors"
	"fmt"
	"strings"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// Problem is why a template cannot be applied as it is. Trying again helps only where something else changes.
type Problem struct {
	// Reason is one of those of the conditions of a TemplateInstance.
	Reason string
	err    error
}

// NewProblem makes a problem of an error.
func NewProblem(reason string, err error) *Problem { return &Problem{Reason: reason, err: err} }

func (p *Problem) Error() string { return p.err.Error() }
func (p *Problem) Unwrap() error { return p.err }

func problem(reason, format string, arguments ...any) error {
	return &Problem{Reason: reason, err: fmt.Errorf(format, arguments...)}
}

// withoutSecrets replaces an error that may show a value from a Secret, in whatever form, by one that says nothing: a chart can
// print its values as it likes.
func withoutSecrets(err error, secrets []string) error {
	p, isProblem := errors.AsType[*Problem](err)
	if err == nil || len(secrets) == 0 || isProblem && p.Reason != tenancyv1alpha1.ReasonRenderFailed {
		return err
	}
	return problem(tenancyv1alpha1.ReasonRenderFailed, "the template cannot be rendered; why is not shown, since values from Secrets are in it: try it with values that are none")
}

// shows tells whether a text holds one of the secrets.
func shows(text string, secrets []string) bool {
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			return true
		}
	}
	return false
}
