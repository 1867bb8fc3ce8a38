package exit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var resource = schema.GroupResource{Group: "cluster.matryoshka.dev", Resource: "virtualclusters"}

func TestCodeOf(t *testing.T) {
	cases := map[string]struct {
		err  error
		want Code
	}{
		"nil":               {nil, OK},
		"plain":             {errors.New("broken"), Failed},
		"usage":             {Usagef("bad"), Usage},
		"wrapped usage":     {fmt.Errorf("run: %w", Usagef("bad")), Usage},
		"not found":         {fmt.Errorf("get: %w", apierrors.NewNotFound(resource, "x")), NotFound},
		"next keeps code":   {WithNext(apierrors.NewNotFound(resource, "x"), "look"), NotFound},
		"forbidden":         {apierrors.NewForbidden(resource, "x", errors.New("no")), Forbidden},
		"unauthorized":      {apierrors.NewUnauthorized("who"), Forbidden},
		"deadline":          {fmt.Errorf("wait: %w", context.DeadlineExceeded), TimedOut},
		"server timeout":    {apierrors.NewServerTimeout(resource, "get", 1), TimedOut},
		"interrupted":       {fmt.Errorf("wait: %w", context.Canceled), Interrupted},
		"not the owner":     {&fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, Forbidden},
		"exists":            {apierrors.NewAlreadyExists(resource, "x"), Failed},
		"code of the child": {exec.Command("sh", "-c", "exit 42").Run(), 42},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := CodeOf(c.err); got != c.want {
				t.Errorf("code %d, want %d", got, c.want)
			}
		})
	}
}

func TestTableHasEveryCodeOnce(t *testing.T) {
	seen := map[Code]bool{}
	for _, row := range Table {
		if seen[row.Code] || row.Meaning == "" {
			t.Errorf("code %d is in the table twice or without a meaning", row.Code)
		}
		seen[row.Code] = true
	}
	for _, code := range []Code{OK, Failed, Usage, NotFound, Forbidden, TimedOut, Interrupted} {
		if !seen[code] {
			t.Errorf("code %d is not in the table", code)
		}
	}
}

func TestMessage(t *testing.T) {
	kind := schema.GroupKind{Group: "cluster.matryoshka.dev", Kind: "VirtualCluster"}
	invalid := apierrors.NewInvalid(kind, "hello", field.ErrorList{
		field.Invalid(field.NewPath("spec", "kubernetesVersion"), "v1.30.0", "this release runs v1.36.3 only"),
	})
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	cases := map[string]struct {
		err  error
		want string
	}{
		"plain": {errors.New("broken"), "matry: broken"},
		"next":  {WithNext(errors.New("broken"), "run `matry %s`", "up"), "matry: broken\n  next: run `matry up`"},
		"invalid": {
			fmt.Errorf("create virtual cluster %q: %w", "demo/hello", invalid),
			`matry: create virtual cluster "demo/hello": VirtualCluster "hello" is not valid:` + "\n" +
				`  spec.kubernetesVersion: Invalid value: "v1.30.0": this release runs v1.36.3 only`,
		},
		"not the owner": {
			fmt.Errorf("read: %w", &fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}),
			"matry: read: open /x: permission denied\n  next: run the command as the owner of this file; those of the embedded host are root's",
		},
		"refused": {
			fmt.Errorf("list: %w", refused),
			"matry: list: dial tcp: connect: connection refused\n  next: nothing listens at this address: `matry status` shows the embedded host, `matry up` starts it",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Message(c.err)); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWithNextKeepsNil(t *testing.T) {
	if err := WithNext(nil, "x"); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}
