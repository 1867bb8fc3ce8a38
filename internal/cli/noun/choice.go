package noun

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Choice adds a flag that takes one of a few words, so that a wrong one fails before anything is done.
func Choice(command *cobra.Command, to *string, name, usage string, values ...string) {
	command.Flags().Var(&choiceValue{to: to, values: values}, name, usage)
	// The error is a programming error: the flag is added one line above.
	_ = command.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

type choiceValue struct {
	to     *string
	values []string
}

func (c *choiceValue) String() string {
	if c.to == nil {
		return ""
	}
	return *c.to
}

// Type is what the help shows as the flag's value.
func (c *choiceValue) Type() string { return strings.Join(c.values, "|") }

// Set takes one of the words.
func (c *choiceValue) Set(value string) error {
	if !slices.Contains(c.values, value) {
		return fmt.Errorf("use one of %s", strings.Join(c.values, ", "))
	}
	*c.to = value
	return nil
}
