package template

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
)

// Instance is what the commands know of template instances.
var Instance = newInstance()

func newInstance() *noun.Kind[*tenancyv1alpha1.TemplateInstance] {
	kind := &noun.Kind[*tenancyv1alpha1.TemplateInstance]{
		Singular: "templateinstance", Plural: "templateinstances", Title: "template instance", Titles: "template instances", Aliases: []string{"ti"},
		Kind:    tenancyv1alpha1.GroupVersion.WithKind("TemplateInstance"),
		MaxName: 53, Namespaced: true,
		Empty:      func() *tenancyv1alpha1.TemplateInstance { return &tenancyv1alpha1.TemplateInstance{} },
		EmptyList:  func() client.ObjectList { return &tenancyv1alpha1.TemplateInstanceList{} },
		Conditions: func(instance *tenancyv1alpha1.TemplateInstance) []metav1.Condition { return instance.Status.Conditions },
		Advice:     advice,
		Lines:      instanceLines,
		More:       objects,
	}
	kind.Columns = []noun.Column[*tenancyv1alpha1.TemplateInstance]{
		{Name: "Template", Cell: templateOf},
		{Name: "Ready", Cell: kind.Ready},
		{Name: "Reason", Cell: kind.Reason},
		{Name: "Sync", Cell: sync},
		{Name: "Age", Cell: func(instance *tenancyv1alpha1.TemplateInstance) string { return noun.Age(instance.CreationTimestamp) }},
		{Name: "Repairs", Wide: true, Cell: func(instance *tenancyv1alpha1.TemplateInstance) string {
			return strconv.FormatInt(instance.Status.Repairs, 10)
		}},
	}
	return kind
}

// advice is what to do about an instance that does not get ready by itself.
var advice = map[string]string{
	tenancyv1alpha1.ReasonNotASpace:        "templates are put into spaces only; `matry get spaces` lists yours",
	tenancyv1alpha1.ReasonTemplateMissing:  "`matry get templates` lists those that there are",
	tenancyv1alpha1.ReasonTemplateCircular: "ask who wrote the template: it includes itself",
	tenancyv1alpha1.ReasonParameters:       "`matry describe template` shows the parameters; `matry edit templateinstance NAME` changes them",
	tenancyv1alpha1.ReasonSecretMissing:    "create the Secret in the space, with this key",
	tenancyv1alpha1.ReasonRenderFailed:     "`matry edit templateinstance NAME` changes the parameters; what is wrong in the template is its writer's to mend",
	tenancyv1alpha1.ReasonObjectRefused:    "`matry describe templateinstance NAME` shows which object, and why",
	tenancyv1alpha1.ReasonObjectTaken:      "delete or rename the object that is there already",
	tenancyv1alpha1.ReasonIdentityTaken:    "ask who runs the host cluster",
	tenancyv1alpha1.ReasonAsleep:           "the space sleeps; wake it",
}

func templateOf(instance *tenancyv1alpha1.TemplateInstance) string {
	if instance.Spec.SpaceTemplate != "" {
		return "SpaceTemplate/" + instance.Spec.SpaceTemplate
	}
	return "Template/" + instance.Spec.Template
}

func sync(instance *tenancyv1alpha1.TemplateInstance) string {
	return strconv.FormatBool(instance.Spec.Sync == nil || *instance.Spec.Sync)
}

func instanceLines(instance *tenancyv1alpha1.TemplateInstance) [][2]string {
	lines := [][2]string{{"Template", templateOf(instance)}, {"Sync", sync(instance)}}
	for _, parameter := range instance.Spec.Parameters {
		value := ""
		switch {
		case parameter.Value != nil:
			value = strconv.Quote(*parameter.Value)
		case parameter.ValueFrom != nil:
			value = "key " + parameter.ValueFrom.SecretKeyRef.Key + " of secret " + parameter.ValueFrom.SecretKeyRef.Name
		}
		lines = append(lines, [2]string{"Parameter " + parameter.Name, value})
	}
	if repair := instance.Status.LastRepair; repair != nil {
		lines = append(lines, [2]string{"Repairs", fmt.Sprintf("%d, the last %s ago: %v", instance.Status.Repairs, noun.Age(repair.Time), repair.Objects)})
	}
	return lines
}

// objects shows what became of each object of the template.
func objects(_ context.Context, w io.Writer, _ client.Reader, instance *tenancyv1alpha1.TemplateInstance) {
	fmt.Fprintln(w, "Objects:")
	if len(instance.Status.Objects) == 0 {
		fmt.Fprintln(w, "  none")
		return
	}
	fmt.Fprintln(w, "  KIND\tNAME\tSTATE")
	for _, object := range instance.Status.Objects {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", object.Kind, object.Name, object.State)
	}
}

// instanceFlags are the flags that become fields of the spec.
type instanceFlags struct {
	template   string
	parameters map[string]string
	sync       bool
}

func (s *instanceFlags) add(command *cobra.Command, target *hostcluster.Target) {
	flags := command.Flags()
	flags.StringVar(&s.template, "template", "", "template that is put into the space")
	flags.StringToStringVar(&s.parameters, "parameter", nil, "`parameters` (name=value,...) of the template")
	flags.BoolVar(&s.sync, "sync", true, "follow the template, and set back what others change")
	_ = command.RegisterFlagCompletionFunc("template", Template.CompleteNames(target))
}

func (s *instanceFlags) object() (*tenancyv1alpha1.TemplateInstance, error) {
	if s.template == "" {
		return nil, exit.Usagef("--template says what is put into the space; `matry get templates` lists them")
	}
	instance := &tenancyv1alpha1.TemplateInstance{Spec: tenancyv1alpha1.TemplateInstanceSpec{Template: s.template, Sync: &s.sync}}
	for _, name := range slices.Sorted(maps.Keys(s.parameters)) {
		value := s.parameters[name]
		instance.Spec.Parameters = append(instance.Spec.Parameters, tenancyv1alpha1.InstanceParameter{Name: name, Value: &value})
	}
	return instance, nil
}

// NewCreateInstance returns the command "templateinstance" of `matry create`.
func NewCreateInstance(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	flags := &instanceFlags{}
	return Instance.NewCreate(streams, target, noun.Maker[*tenancyv1alpha1.TemplateInstance]{
		Short: "Put a template into a space and wait until it is in place",
		Example: `  # With parameters
  matry create templateinstance shop -n web --template web --parameter host=shop.example.com,replicas=2

  # Once: what it makes is then yours
  matry create ti shop -n web --template web --sync=false`,
		AddFlags:    func(command *cobra.Command) { flags.add(command, target) },
		Object:      flags.object,
		NoNamespace: "`matry create space NAME` makes a space",
	})
}

// NewGetInstance returns the command "templateinstances" of `matry get`.
func NewGetInstance(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Instance.NewGet(streams, target, `  # Those of all your spaces
  matry get templateinstances

  # Those of one space
  matry get ti -n web`)
}

// NewDescribeInstance returns the command "templateinstance" of `matry describe`.
func NewDescribeInstance(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Instance.NewDescribe(streams, target, "Show a template instance and what became of its objects", `  # Which object was refused?
  matry describe templateinstance shop -n web

  # The same of a host cluster that is not the embedded one
  matry describe ti shop -n web --kubeconfig ~/prod.kubeconfig`)
}

// NewEditInstance returns the command "templateinstance" of `matry edit`.
func NewEditInstance(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Instance.NewEdit(streams, target, `  # Other parameters
  matry edit templateinstance shop -n web

  # And wait until they are in place
  matry edit ti shop -n web --wait`)
}

// NewDeleteInstance returns the command "templateinstance" of `matry delete`.
func NewDeleteInstance(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return Instance.NewDelete(streams, target, "what it has made", `  # Take it out of the space
  matry delete templateinstance shop -n web

  # In a script: no question, and no error when it is gone already
  matry delete ti shop -n web --yes --ignore-not-found`)
}
