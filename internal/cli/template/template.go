package template

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
)

// Template is what the commands know of templates.
var Template = &noun.Kind[*tenancyv1alpha1.Template]{
	Singular: "template", Plural: "templates", Title: "template", Titles: "templates", Aliases: []string{"tpl"},
	Kind:      tenancyv1alpha1.GroupVersion.WithKind("Template"),
	MaxName:   63,
	Empty:     func() *tenancyv1alpha1.Template { return &tenancyv1alpha1.Template{} },
	EmptyList: func() client.ObjectList { return &tenancyv1alpha1.TemplateList{} },
	Columns: []noun.Column[*tenancyv1alpha1.Template]{
		{Name: "Description", Cell: func(template *tenancyv1alpha1.Template) string { return template.Spec.Description }},
		{Name: "Parameters", Cell: func(template *tenancyv1alpha1.Template) string { return names(template.Spec.Parameters) }},
		{Name: "Age", Cell: func(template *tenancyv1alpha1.Template) string { return noun.Age(template.CreationTimestamp) }},
		{Name: "Content", Wide: true, Cell: content},
	},
	Lines: func(template *tenancyv1alpha1.Template) [][2]string {
		return append([][2]string{{"Description", noun.OrNone(template.Spec.Description)}, {"Content", content(template)}}, parameters(template.Spec.Parameters)...)
	},
}

// content says what a template is made of.
func content(template *tenancyv1alpha1.Template) string {
	spec := template.Spec
	var parts []string
	if len(spec.Manifests) > 0 {
		parts = append(parts, strconv.Itoa(len(spec.Manifests))+" manifests")
	}
	if spec.Helm != nil && spec.Helm.Chart.Repository != nil {
		chart := spec.Helm.Chart.Repository
		parts = append(parts, "chart "+chart.Name+" "+chart.Version+" of "+chart.URL)
	}
	if spec.Helm != nil && spec.Helm.Chart.Repository == nil {
		parts = append(parts, "an inline chart")
	}
	for _, use := range spec.Includes {
		parts = append(parts, "template "+use.Name)
	}
	return strings.Join(parts, ", ")
}

// names of parameters; those that must be given have a star.
func names(list []tenancyv1alpha1.TemplateParameter) string {
	words := make([]string, 0, len(list))
	for _, parameter := range list {
		word := parameter.Name
		if parameter.Required {
			word += "*"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// parameters are a line for each parameter.
func parameters(list []tenancyv1alpha1.TemplateParameter) [][2]string {
	lines := make([][2]string, 0, len(list))
	for _, parameter := range list {
		parts := []string{string(parameter.Type)}
		switch {
		case parameter.Required:
			parts = append(parts, "required")
		case parameter.Default != nil:
			parts = append(parts, "default "+strconv.Quote(*parameter.Default))
		}
		if len(parameter.Options) > 0 {
			parts = append(parts, "one of "+strings.Join(parameter.Options, ", "))
		}
		if parameter.Pattern != "" {
			parts = append(parts, "like "+parameter.Pattern)
		}
		if parameter.Description != "" {
			parts = append(parts, parameter.Description)
		}
		lines = append(lines, [2]string{"Parameter " + parameter.Name, strings.Join(parts, "; ")})
	}
	return lines
}

// NewCreate returns the command "template" of `matry create`.
func NewCreate(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Template.NewCreate(streams, target, noun.Maker[*tenancyv1alpha1.Template]{
		Short: "Create a template that users put into their spaces",
		Example: `  # From a file
  matry create template -f web.yaml

  # Would it be taken?
  matry create template -f web.yaml --dry-run server`,
	})
}

// NewGet returns the command "templates" of `matry get`.
func NewGet(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Template.NewGet(streams, target, `  # What is there to use? Parameters with a star must be given
  matry get templates

  # The template itself
  matry get template web -o yaml`)
}

// NewDescribe returns the command "template" of `matry describe`.
func NewDescribe(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Template.NewDescribe(streams, target, "Show a template and its parameters", `  # Which parameters does it have?
  matry describe template web

  # The same of a host cluster that is not the embedded one
  matry describe tpl web --kubeconfig ~/prod.kubeconfig`)
}

// NewEdit returns the command "template" of `matry edit`.
func NewEdit(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Template.NewEdit(streams, target, `  # Its instances follow, unless they do not sync
  matry edit template web

  # Would it be taken?
  matry edit template web --dry-run server`)
}

// NewDelete returns the command "template" of `matry delete`.
func NewDelete(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Template.NewDelete(streams, target, "", `  # What its instances have made stays
  matry delete template web

  # In a script: no question, and no error when it is gone already
  matry delete template web --yes --ignore-not-found`)
}
