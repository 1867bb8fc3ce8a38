// Package output prints objects in the forms that kubectl users know: table, wide, json, yaml, name, templates and
// columns of the user's choice.
//
// It prints typed API objects as they are; it is not for messages to people. Its invariant: json and yaml are what the
// API server would return, with kind and apiVersion, whatever the terminal or the locale.
package output

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"
	"k8s.io/kubectl/pkg/cmd/get"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// The forms that print columns.
const (
	Table = "table"
	Wide  = "wide"
)

// customColumns is kubectl's form of columns that the user chooses.
const customColumns = "custom-columns"

// Flags of a command that prints objects.
type Flags struct {
	// Format as given by -o; empty means Table.
	Format string
	// NoHeaders leaves the line of column names out.
	NoHeaders bool

	scheme    *runtime.Scheme
	templates *genericclioptions.PrintFlags
}

// AddFlags adds -o and, for commands that print a table, --no-headers.
func (f *Flags) AddFlags(command *cobra.Command, scheme *runtime.Scheme, withTable bool) {
	f.scheme = scheme
	f.templates = genericclioptions.NewPrintFlags("").WithTypeSetter(scheme)
	formats := f.formats(withTable)
	command.Flags().StringVarP(&f.Format, "output", "o", "", "output `format`: "+strings.Join(formats, ", "))
	if withTable {
		command.Flags().BoolVar(&f.NoHeaders, "no-headers", false, "print no line of column names")
	}
	// The error is a programming error: the flag is added two lines above.
	_ = command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

func (f *Flags) formats(withTable bool) []string {
	formats := []string{"json", "yaml", "name", "jsonpath=...", "go-template=...", customColumns + "=..."}
	if withTable {
		formats = append([]string{Table, Wide}, formats...)
	}
	return formats
}

// IsTable tells whether columns are asked for.
func (f *Flags) IsTable() bool {
	return slices.Contains([]string{"", Table, Wide}, f.Format)
}

// Validate refuses an unknown format before anything is done.
func (f *Flags) Validate(withTable bool) error {
	if f.IsTable() && (withTable || f.Format == "") {
		return nil
	}
	_, err := f.printer()
	if genericclioptions.IsNoCompatiblePrinterError(err) {
		return exit.Usagef("-o: %q is not an output format; use one of %s", f.Format, strings.Join(f.formats(withTable), ", "))
	}
	if err != nil {
		return exit.Usagef("-o %q: %w", f.Format, err)
	}
	return nil
}

func (f *Flags) printer() (printers.ResourcePrinter, error) {
	if spec, isColumns := strings.CutPrefix(f.Format, customColumns+"="); isColumns {
		// The decoder is for objects that come undecoded; ours are typed.
		return get.NewCustomColumnsPrinterFromSpec(spec, nil, f.NoHeaders)
	}
	*f.templates.OutputFormat = f.Format
	return f.templates.ToPrinter()
}

// Print prints the object, or the table that columns makes of it when columns are asked for.
func (f *Flags) Print(w io.Writer, object runtime.Object, columns func() *metav1.Table) error {
	if f.IsTable() {
		printer := printers.NewTablePrinter(printers.PrintOptions{Wide: f.Format == Wide, NoHeaders: f.NoHeaders})
		return printer.PrintObj(columns(), w)
	}
	printer, err := f.printer()
	if err != nil {
		return fmt.Errorf("print as %q: %w", f.Format, err)
	}
	if !meta.IsListType(object) {
		return printer.PrintObj(object, w)
	}
	items, err := f.itemsOf(object)
	if err != nil {
		return err
	}
	if f.Format != "name" {
		return printer.PrintObj(object, w)
	}
	for _, item := range items {
		if err := printer.PrintObj(item, w); err != nil {
			return err
		}
	}
	return nil
}

// itemsOf returns the items of a typed list and sets their kinds in the list: on the wire they have none, but each of
// them must be usable on its own when it is taken out of the printed list.
func (f *Flags) itemsOf(list runtime.Object) ([]runtime.Object, error) {
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, fmt.Errorf("print a list: %w", err)
	}
	for _, item := range items {
		kinds, _, err := f.scheme.ObjectKinds(item)
		if err != nil {
			return nil, fmt.Errorf("print a list: %w", err)
		}
		item.GetObjectKind().SetGroupVersionKind(kinds[0])
	}
	return items, nil
}
