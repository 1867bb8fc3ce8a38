// Package structured prints results that are no API objects as JSON or YAML, for scripts.
//
// It is not for API objects, which package output prints.
package structured

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// Format is a flag -o with json and yaml. Empty means words for a person.
type Format struct {
	value string
}

// AddFlag adds -o.
func (f *Format) AddFlag(command *cobra.Command) {
	command.Flags().VarP(f, "output", "o", "output `format`: json, yaml")
	// The error is a programming error: the flag is added one line above.
	_ = command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}

// IsGiven tells whether a format was asked for.
func (f *Format) IsGiven() bool { return f.value != "" }

func (f *Format) String() string { return f.value }

// Type is what the help shows as the flag's value.
func (f *Format) Type() string { return "format" }

// Set takes a format.
func (f *Format) Set(value string) error {
	switch value {
	case "", "json", "yaml":
		f.value = value
		return nil
	}
	return exit.Usagef("%q is not an output format; use json or yaml", value)
}

// Print prints the result.
func (f *Format) Print(w io.Writer, result any) error {
	if f.value == "yaml" {
		content, err := yaml.Marshal(result)
		if err != nil {
			return fmt.Errorf("encode the result: %w", err)
		}
		_, err = w.Write(content)
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "    ")
	return encoder.Encode(result)
}
