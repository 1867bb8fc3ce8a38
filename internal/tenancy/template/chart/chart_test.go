package chart

import (
	"context"
	"strings"
	"testing"
)

func version(context.Context) (string, error) { return "v1.36.3", nil }

func mustContain(t *testing.T, err error, problem string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if (problem == "") != (err == nil) || !strings.Contains(got, problem) {
		t.Fatalf("got the error %q, want %q", got, problem)
	}
}
