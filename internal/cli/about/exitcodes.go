package about

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// NewExitCodes returns the help topic `matry help exit-codes`.
func NewExitCodes() *cobra.Command {
	var text strings.Builder
	text.WriteString("matry ends with one of these codes:\n\n")
	for _, row := range exit.Table {
		fmt.Fprintf(&text, "  %3d  %s\n", row.Code, row.Meaning)
	}
	text.WriteString("\n`matry connect ... -- COMMAND` ends with the code of the command, and `matry kubectl` with that of kubectl.")
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "The meaning of matry's exit codes",
		Long:  text.String(),
	}
}
