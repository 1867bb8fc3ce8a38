// Package reference writes the page for users that says what is synced, how, and what is refused.
//
// It decides nothing: the fields of pods, labels and annotations are read from the code that decides, and each kind and each reason of the sync
// has a line here, which tests check.
package reference

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/pod"
)

// Write writes the page as Markdown.
func Write(to io.Writer) error {
	var page strings.Builder
	page.WriteString("# What is synced\n\n<!-- Written by `make generate`; do not edit. -->\n\n" +
		"How each kind of object gets between a virtual cluster and its host. Kinds that are not here stay in the virtual cluster.\n" +
		"What is refused is told in an event on your object, which stays and is tried again.\n\n")
	writeKinds(&page)
	writeReasons(&page)
	writeMetadata(&page)
	writeFields(&page)
	_, err := io.WriteString(to, page.String())
	return err
}

func writeKinds(page *strings.Builder) {
	page.WriteString("## Kinds\n\n| kind | direction | how | refused or left out | events |\n|---|---|---|---|---|\n")
	for _, kind := range Kinds {
		fmt.Fprintf(page, "| %s | %s | %s | %s | %s |\n", kind.Name, kind.Direction, kind.How, kind.Refused, kind.Events)
	}
	page.WriteString("\nEvery kind that goes down may have the events `HostRejected` (the host's API server said no), `NameTaken` (the host has\n" +
		"another object of this name), `LimitReached` (you have as much on the host as you may), `EditedOnHost` and `NotSupported`.\n")
}

func writeMetadata(page *strings.Builder) {
	annotations := mapping.CopiedAnnotations()
	domains, names := mapping.SteeringLabels()
	fmt.Fprintf(page, "\n## Labels and annotations\n\n"+
		"Annotations that go down: %s. Ingresses have more.\n\n"+
		"Labels go down, but for those of these domains and their subdomains: %s; and keys without a domain that begin with: %s.\n\n"+
		"Finalizers and owner references stay in the virtual cluster.\n", list(annotations), list(domains), list(names))
}

func writeFields(page *strings.Builder) {
	page.WriteString("\n## Fields of pods\n\n\"Carried\" is down for the spec and up for the status. Beside this, the host's pod security may refuse a pod.\n")
	fields := pod.Fields()
	for len(fields) > 0 {
		name := fields[0].Type
		end := slices.IndexFunc(fields, func(field pod.Field) bool { return field.Type != name })
		if end < 0 {
			end = len(fields)
		}
		writeType(page, name, fields[:end])
		fields = fields[end:]
	}
}

// writeType writes one line for all fields that are merely carried, and one for each other.
func writeType(page *strings.Builder, name string, fields []pod.Field) {
	var carried []string
	var rest strings.Builder
	for _, field := range fields {
		if field.Decision == pod.Carried && field.Note == "" {
			carried = append(carried, field.Name)
			continue
		}
		fmt.Fprintf(&rest, "| `%s` | %s | %s |\n", field.Name, field.Decision, field.Note)
	}
	fmt.Fprintf(page, "\n### %s\n\n", name)
	if len(carried) > 0 {
		fmt.Fprintf(page, "Carried: %s.\n", list(carried))
	}
	if len(carried) > 0 && rest.Len() > 0 {
		page.WriteString("\n")
	}
	if rest.Len() > 0 {
		page.WriteString("| field | decision | how and why |\n|---|---|---|\n" + rest.String())
	}
}

func list(names []string) string {
	slices.Sort(names)
	return "`" + strings.Join(names, "`, `") + "`"
}
