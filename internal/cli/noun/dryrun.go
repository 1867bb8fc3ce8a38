package noun

import (
	"strings"

	"github.com/spf13/cobra"
)

// The values of --dry-run.
const (
	dryRunNone   = "none"
	dryRunClient = "client"
	dryRunServer = "server"
)

// addDryRun adds --dry-run. Commands that change what is there have no form without the server.
func addDryRun(command *cobra.Command, to *string, withClient bool) {
	*to = dryRunNone
	values, usage := []string{dryRunNone, dryRunServer}, "let the API server check it, and change nothing"
	if withClient {
		values, usage = []string{dryRunNone, dryRunClient, dryRunServer}, "client prints the object, server lets the API server check it; both change nothing"
	}
	Choice(command, to, "dry-run", usage+" ("+strings.Join(values, ", ")+")", values...)
}

// inDryRun is what the line of the result says of a dry run.
func inDryRun(dryRun string) string {
	if dryRun == dryRunNone {
		return ""
	}
	return " (" + dryRun + " dry run)"
}
