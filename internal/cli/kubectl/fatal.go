package kubectl

import (
	"fmt"
	"os"
	"strings"
)

// fatal ends the process as kubectl does, and says what to do next when that is known.
func fatal(message string, code int) {
	if message != "" {
		fmt.Fprintln(os.Stderr, strings.TrimSuffix(message, "\n"))
	}
	if next := nextAfter(message); next != "" {
		fmt.Fprintln(os.Stderr, "  next: "+next)
	}
	os.Exit(code) //nolint:forbidigo // kubectl's commands end the process by calling this
}

// nextAfter knows the two errors of kubectl that say nothing to people who use virtual clusters. kubectl hands over a text
// only, and the alert of a TLS server has no type of its own either.
func nextAfter(message string) string {
	switch {
	case strings.Contains(message, "tls: unrecognized name"):
		return "the virtual cluster of this kubeconfig was deleted, or is not of this host cluster: `matry get virtualclusters -A` lists those there are"
	case strings.Contains(message, "localhost:8080"):
		return "no cluster was chosen: `matry up` starts an embedded host; --kubeconfig FILE chooses another cluster"
	}
	return ""
}
