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

// Space is what the commands know of space templates.
var Space = &noun.Kind[*tenancyv1alpha1.SpaceTemplate]{
	Singular: "spacetemplate", Plural: "spacetemplates", Title: "space template", Titles: "space templates", Aliases: []string{"spt"},
	Kind:    tenancyv1alpha1.GroupVersion.WithKind("SpaceTemplate"),
	MaxName: 253, WithDots: true,
	Empty:     func() *tenancyv1alpha1.SpaceTemplate { return &tenancyv1alpha1.SpaceTemplate{} },
	EmptyList: func() client.ObjectList { return &tenancyv1alpha1.SpaceTemplateList{} },
	Columns: []noun.Column[*tenancyv1alpha1.SpaceTemplate]{
		{Name: "Mandatory", Cell: mandatory},
		{Name: "Description", Cell: func(template *tenancyv1alpha1.SpaceTemplate) string { return template.Spec.Description }},
		{Name: "Age", Cell: func(template *tenancyv1alpha1.SpaceTemplate) string { return noun.Age(template.CreationTimestamp) }},
		{Name: "Content", Wide: true, Cell: spaceContent},
	},
	Lines: func(template *tenancyv1alpha1.SpaceTemplate) [][2]string {
		return append([][2]string{
			{"Description", noun.OrNone(template.Spec.Description)}, {"Mandatory", mandatory(template)}, {"Content", noun.OrNone(spaceContent(template))},
		}, parameters(template.Spec.Parameters)...)
	},
}

func mandatory(template *tenancyv1alpha1.SpaceTemplate) string {
	return strconv.FormatBool(template.Spec.Mandatory == nil || *template.Spec.Mandatory)
}

func spaceContent(template *tenancyv1alpha1.SpaceTemplate) string {
	spec := template.Spec
	var parts []string
	if len(spec.Objects) > 0 {
		parts = append(parts, strconv.Itoa(len(spec.Objects))+" objects")
	}
	for _, use := range spec.Templates {
		parts = append(parts, "template "+use.Name)
	}
	for _, secret := range spec.Secrets {
		parts = append(parts, "secret "+secret.Name)
	}
	return strings.Join(parts, ", ")
}

// NewCreateSpace returns the command "spacetemplate" of `matry create`.
func NewCreateSpace(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Space.NewCreate(streams, target, noun.Maker[*tenancyv1alpha1.SpaceTemplate]{
		Short: "Create a space template: what spaces have before their people come in",
		Example: `  # From a file
  matry create spacetemplate -f limits.yaml

  # Would it be taken?
  matry create spacetemplate -f limits.yaml --dry-run server`,
	})
}

// NewGetSpace returns the command "spacetemplates" of `matry get`.
func NewGetSpace(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Space.NewGet(streams, target, `  # What is there to use?
  matry get spacetemplates

  # With what they put into a space
  matry get spt -o wide`)
}

// NewDescribeSpace returns the command "spacetemplate" of `matry describe`.
func NewDescribeSpace(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Space.NewDescribe(streams, target, "Show a space template and its parameters", `  # Which parameters does it have?
  matry describe spacetemplate limits

  # The same of a host cluster that is not the embedded one
  matry describe spt limits --kubeconfig ~/prod.kubeconfig`)
}

// NewEditSpace returns the command "spacetemplate" of `matry edit`.
func NewEditSpace(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Space.NewEdit(streams, target, `  # Spaces follow when it is mandatory
  matry edit spacetemplate limits

  # Would it be taken?
  matry edit spacetemplate limits --dry-run server`)
}

// NewDeleteSpace returns the command "spacetemplate" of `matry delete`.
func NewDeleteSpace(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Space.NewDelete(streams, target, "", `  # Spaces that use it say that it is missing
  matry delete spacetemplate limits

  # In a script: no question, and no error when it is gone already
  matry delete spacetemplate limits --yes --ignore-not-found`)
}
