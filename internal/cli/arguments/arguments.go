// Package arguments checks the positional arguments of commands, so that a wrong number of them or an unknown
// subcommand is a usage error that says what is expected.
package arguments

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// None refuses every argument.
func None(command *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return exit.Usagef("%q takes no arguments; got %q", command.CommandPath(), strings.Join(args, " "))
}

// One expects exactly one argument, which is a what.
func One(what string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return exit.Usagef("%q needs %s: %s", command.CommandPath(), what, command.UseLine())
		case 1:
			return nil
		}
		return exit.Usagef("%q takes one argument, %s; got %q", command.CommandPath(), what, strings.Join(args, " "))
	}
}

// Some expects one argument or more.
func Some(what string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return exit.Usagef("%q needs %s: %s", command.CommandPath(), what, command.UseLine())
	}
}

// Group makes a command of one that only has subcommands: alone it shows its help, with an unknown word it fails.
func Group(command *cobra.Command, subcommands ...*cobra.Command) *cobra.Command {
	command.AddCommand(subcommands...)
	command.Args = func(command *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if near := Nearest(args[0], command.SuggestionsFor(args[0])); near != "" {
			return exit.Usagef("%q has no subcommand %q; did you mean %q?", command.CommandPath(), args[0], near)
		}
		names := make([]string, 0, len(subcommands))
		for _, sub := range command.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		return exit.WithNext(exit.Usagef("%q has no subcommand %q; there are %s", command.CommandPath(), args[0], strings.Join(names, ", ")),
			"`%s --help` says what they do", command.CommandPath())
	}
	command.RunE = func(command *cobra.Command, _ []string) error { return command.Help() }
	// A mistyped word is suggested from two letters of difference on.
	command.SuggestionsMinimumDistance = 2
	return command
}
