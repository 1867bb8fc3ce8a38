package top

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
)

func (c Count) String() string {
	if c.Limit == nil {
		return fmt.Sprint(c.Used)
	}
	return fmt.Sprintf("%d/%d", c.Used, *c.Limit)
}

// of is "used/hard".
func (r *ResourceUsage) of() string { return r.Used.String() + "/" + r.Hard.String() }

func (r *ResourceUsage) percent() string {
	if r.Percent == nil {
		return "<none>"
	}
	return fmt.Sprintf("%d%%", *r.Percent)
}

// writeAll shows accounts, a line each.
func writeAll(w io.Writer, usages []Usage) error {
	out := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(out, "ACCOUNT\tSPACES\tVIRTUAL-CLUSTERS\tRUNNING\tQUOTA")
	for _, usage := range usages {
		parts := make([]string, 0, len(usage.Resources))
		for _, line := range usage.Resources {
			parts = append(parts, line.Resource+" "+line.of())
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", usage.Account, usage.Spaces, usage.VirtualClusters, usage.RunningVirtualClusters,
			noun.OrNone(strings.Join(parts, ", ")))
	}
	return out.Flush()
}

// mostNamespaces keeps the answer readable.
const mostNamespaces = 3

// writeOne shows an account with the lines of its quotas.
func writeOne(w io.Writer, usage *Usage) error {
	out := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(out, "Account:\t%s\n", usage.Account)
	if usage.Suspended {
		fmt.Fprintln(out, "Suspended:\ttrue")
	}
	fmt.Fprintf(out, "Spaces:\t%s\n", usage.Spaces)
	fmt.Fprintf(out, "Virtual clusters:\t%s\n", usage.VirtualClusters)
	fmt.Fprintf(out, "Running:\t%s\n", usage.RunningVirtualClusters)
	if err := out.Flush(); err != nil || len(usage.Resources) == 0 {
		return err
	}
	fmt.Fprintln(out)
	fmt.Fprintln(out, "QUOTA\tRESOURCE\tUSED\tHARD\tPERCENT\tMOST IN")
	for i := range usage.Resources {
		line := &usage.Resources[i]
		most := make([]string, 0, mostNamespaces)
		for _, share := range line.Namespaces[:min(len(line.Namespaces), mostNamespaces)] {
			most = append(most, share.Namespace+" "+share.Used.String())
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", line.Quota, line.Resource, line.Used.String(), line.Hard.String(), line.percent(),
			noun.OrNone(strings.Join(most, ", ")))
	}
	return out.Flush()
}
