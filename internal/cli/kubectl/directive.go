package kubectl

import (
	"strconv"

	"github.com/spf13/cobra"
)

// directiveOf reads what a shell shall do with completions. An unreadable one is an error to the shell.
func directiveOf(number string) cobra.ShellCompDirective {
	value, err := strconv.Atoi(number)
	if err != nil {
		return cobra.ShellCompDirectiveError
	}
	return cobra.ShellCompDirective(value)
}
