package main

import "testing"

func TestShellFor(t *testing.T) {
	for variable, want := range map[string]string{
		"PATH=/bin": "/bin/busybox", "_A1=x=y": "/bin/busybox", "EMPTY=": "/bin/busybox",
		"data-1=x": "/bin/bash-static", "1A=x": "/bin/bash-static", "a.b=x": "/bin/bash-static", "=x": "/bin/bash-static",
	} {
		if got := shellFor([]string{"HOME=/", variable}); got != want {
			t.Errorf("with %q the shell is %q, want %q", variable, got, want)
		}
	}
}
