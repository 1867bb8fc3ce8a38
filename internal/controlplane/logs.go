package controlplane

import (
	"bytes"
	"flag"
	"fmt"
	"io"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// quietKubernetes lets only warnings and worse of Kubernetes' own logs through. klog is global to the process.
func quietKubernetes(w io.Writer) error {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"logtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flags.Set(name, value); err != nil {
			return fmt.Errorf("set up logging: %w", err)
		}
	}
	// klog writes an entry to the output of its severity and of every lower one: an error reaches this one once.
	klog.SetOutput(io.Discard)
	klog.SetOutputBySeverity("WARNING", warnings{w})
	// The API server and the controllers are their own clients; warnings to a client mean nothing to them.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	return nil
}

// warnings drops the three dozen lines of each start about API versions that upstream has but does not serve by default.
type warnings struct{ io.Writer }

func (w warnings) Write(p []byte) (int, error) {
	if bytes.HasSuffix(p, []byte("because it has no resources.\n")) {
		return len(p), nil
	}
	return w.Writer.Write(p)
}
