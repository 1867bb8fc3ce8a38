package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestUnreached(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	refused := &url.Error{Op: "Post", URL: "https://host", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"connection refused": {err: refused, want: true},
		"no answer in time":  {err: &url.Error{Op: "Get", URL: "https://host", Err: context.DeadlineExceeded}, want: true},
		"unavailable":        {err: apierrors.NewServiceUnavailable("starting"), want: true},
		"too many requests":  {err: apierrors.NewTooManyRequests("busy", 1), want: true},
		"internal error":     {err: apierrors.NewInternalError(errors.New("a webhook fails"))},
		"invalid":            {err: apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "web", nil)},
		"not found":          {err: apierrors.NewNotFound(pods, "web")},
		"our own":            {err: errors.New("no such field")},
	} {
		for side, err := range map[string]error{"tenant": fmt.Errorf("get: %w", tc.err), "host": &HostError{Action: "create", Err: tc.err}} {
			if got := isUnreached(err); got != tc.want {
				t.Errorf("%s, %s: %v, want %v", name, side, got, tc.want)
			}
		}
	}
}
