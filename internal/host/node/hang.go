package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

const (
	// answerTimeout bounds how long a start may take until cluster DNS answers by its Service. It takes seconds, also where the machine
	// has much else to do.
	answerTimeout = 2 * time.Minute
	// maxStacks bounds what is kept of the goroutines' stacks, in bytes.
	maxStacks = 16 << 20
	// kubeProxy is what the stacks of kube-proxy's own goroutine have in them.
	kubeProxy = "k8s.io/kubernetes/cmd/kube-proxy/app."
)

// errHangs is why the process ends when a component neither works nor ends: a start that waits without an end helps nobody.
var errHangs = errors.New("the start hangs")

// pollAtMost asks like poll, but no longer than the limit. Each question gets a context that ends then, too.
func pollAtMost(ctx context.Context, limit time.Duration, ask func(context.Context) bool) error {
	limited, cancel := context.WithTimeoutCause(ctx, limit, errHangs)
	defer cancel()
	return poll(limited, ask)
}

// hangs writes the stacks of all goroutines to a file, since the process is about to end, and says in which functions kube-proxy waits.
func hangs(path string) error {
	stacks := allStacks()
	if err := os.WriteFile(path, []byte(stacks), 0o600); err != nil {
		return errors.Join(errHangs, fmt.Errorf("write the stacks of the goroutines: %w", err))
	}
	return fmt.Errorf("%w: cluster DNS does not answer by its Service after %s; kube-proxy is in %s; the stacks of all goroutines are in %s",
		errHangs, answerTimeout, whereIs(stacks, kubeProxy), path)
}

func allStacks() string {
	stacks := make([]byte, maxStacks)
	return string(stacks[:runtime.Stack(stacks, true)])
}

// whereIs says what the first goroutine waits for that has a function of the package, and in which functions, the innermost first.
func whereIs(stacks, pkg string) string {
	for goroutine := range strings.SplitSeq(stacks, "\n\n") {
		state, calls, _ := strings.Cut(goroutine, "\n")
		if !strings.Contains("\n"+calls, "\n"+pkg) {
			continue
		}
		var functions []string
		for call := range strings.Lines(calls) {
			// Below each function is its file. The last one is who has started the goroutine.
			arguments := strings.LastIndex(call, "(")
			if arguments < 0 || strings.HasPrefix(call, "\t") || strings.HasPrefix(call, "created by ") {
				continue
			}
			function := call[:arguments]
			functions = append(functions, function[strings.LastIndex(function, "/")+1:])
		}
		return state + " " + strings.Join(functions, " < ")
	}
	return "no goroutine"
}
