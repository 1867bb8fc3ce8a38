package testenv

import (
	"flag"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

var quiet sync.Once

// QuietLogs keeps the API servers' logs out of the tests' output. klog is global to the process, so it
// does so once and for all.
func QuietLogs() {
	quiet.Do(func() {
		flags := flag.NewFlagSet("klog", flag.ContinueOnError)
		klog.InitFlags(flags)
		_ = flags.Set("logtostderr", "false")
		_ = flags.Set("stderrthreshold", "FATAL")
		klog.SetOutput(discard{})
		rest.SetDefaultWarningHandler(rest.NoWarnings{})
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
