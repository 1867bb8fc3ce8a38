package exit

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Message is what a person reads: the error, the fields that are wrong, and the next command. It is empty for Silent.
func Message(err error) string {
	if errors.Is(err, errSilent) {
		return ""
	}
	var text strings.Builder
	text.WriteString("matry: " + reason(err))
	for _, cause := range causes(err) {
		text.WriteString("\n  " + cause)
	}
	if next := next(err); next != "" {
		text.WriteString("\n  next: " + next)
	}
	return text.String()
}

// reason is the error without the repetition that the API server adds to the list of its causes.
func reason(err error) string {
	if len(causes(err)) == 0 {
		return err.Error()
	}
	status := statusOf(err)
	short := fmt.Sprintf("%s %q is not valid:", status.Details.Kind, status.Details.Name)
	return strings.Replace(err.Error(), status.Message, short, 1)
}

// causes lists the fields that the API server refuses, each with the reason. The text is the server's: the rules of
// the schema say what to do.
func causes(err error) []string {
	status := statusOf(err)
	if status.Reason != metav1.StatusReasonInvalid || status.Details == nil {
		return nil
	}
	list := make([]string, 0, len(status.Details.Causes))
	for _, cause := range status.Details.Causes {
		field := cause.Field
		if field == "" || field == "<nil>" {
			field = "object"
		}
		list = append(list, field+": "+cause.Message)
	}
	return list
}

func statusOf(err error) metav1.Status {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return metav1.Status{}
	}
	return status.Status()
}

func next(err error) string {
	var own *Error
	if errors.As(err, &own) && own.Next != "" {
		return own.Next
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "nothing listens at this address: `matry status` shows the embedded host, `matry up` starts it"
	}
	if errors.Is(err, fs.ErrPermission) {
		return "run the command as the owner of this file; those of the embedded host are root's"
	}
	if CodeOf(err) == Forbidden {
		return "ask who runs the host cluster for the right, or choose another user with --kubeconfig and --context"
	}
	return ""
}
