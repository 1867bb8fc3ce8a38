package render

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/chart"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/parameter"
)

const (
	// MaxObjects is how many objects one instance may have.
	MaxObjects = 200
	// maxBytes is how large they may be together.
	maxBytes = 1 << 20
	// maxDepth is how deep templates may include each other.
	maxDepth = 8
	// maxTemplates is how many templates may be rendered for one instance, those that are included twice counted twice.
	maxTemplates = 64
)

// Renderer renders templates.
type Renderer struct {
	// Template finds a template by its name. It returns nil where there is none.
	Template func(ctx context.Context, name string) (*tenancyv1alpha1.Template, error)
	Fetcher  *chart.Fetcher
	Charts   *chart.Renderer
}

// Target is what is rendered for.
type Target struct {
	Namespace string
	Account   string
	// Instance is the name of the TemplateInstance.
	Instance string
}

func (t *Target) predefined() map[string]string {
	return map[string]string{parameter.Namespace: t.Namespace, parameter.Account: t.Account}
}

// Result is what a template makes.
type Result struct {
	Objects []*unstructured.Unstructured
	// HasSecrets tells that values from Secrets are in the objects.
	HasSecrets bool
	// Labels and Annotations are for the namespace; only space templates have them.
	Labels, Annotations map[string]string
}

// rendering is one call.
type rendering struct {
	*Renderer
	target    Target
	budget    *parameter.Budget
	templates int
	objects   []*unstructured.Unstructured
	secrets   []string
}

func (r *Renderer) start(target Target) *rendering {
	return &rendering{Renderer: r, target: target, budget: parameter.NewBudget(maxBytes)}
}

// Instance renders the named template.
func (r *Renderer) Instance(ctx context.Context, name string, given []parameter.Given, target Target) (*Result, error) {
	rendering := r.start(target)
	if err := rendering.template(ctx, name, given, nil); err != nil {
		return nil, withoutSecrets(err, rendering.secrets)
	}
	return rendering.finish()
}

// Space renders a space template.
func (r *Renderer) Space(ctx context.Context, template *tenancyv1alpha1.SpaceTemplate, given []parameter.Given, target Target) (*Result, error) {
	rendering := r.start(target)
	values, err := rendering.resolve(template.Spec.Parameters, given)
	if err != nil {
		return nil, err
	}
	if err := rendering.manifests(template.Spec.Objects, values); err != nil {
		return nil, err
	}
	if err := rendering.uses(ctx, template.Spec.Templates, values, nil); err != nil {
		return nil, err
	}
	result, err := rendering.finish()
	if err != nil {
		return nil, err
	}
	if result.Labels, err = rendering.namespaceMetadata("label", template.Spec.Labels, values); err != nil {
		return nil, err
	}
	result.Annotations, err = rendering.namespaceMetadata("annotation", template.Spec.Annotations, values)
	return result, err
}

func (r *rendering) resolve(definitions []tenancyv1alpha1.TemplateParameter, given []parameter.Given) (parameter.Values, error) {
	values, err := parameter.Resolve(definitions, given, r.target.predefined())
	if err != nil {
		return nil, NewProblem(tenancyv1alpha1.ReasonParameters, err)
	}
	r.secrets = append(r.secrets, values.Secrets()...)
	return values, nil
}

// template renders one template and those that it includes. The path holds the names of those that include it.
func (r *rendering) template(ctx context.Context, name string, given []parameter.Given, path []string) error {
	if slices.Contains(path, name) {
		return problem(tenancyv1alpha1.ReasonTemplateCircular, "templates include each other in a circle: %s", strings.Join(append(path, name), " → "))
	}
	if path = append(path, name); len(path) > maxDepth {
		return problem(tenancyv1alpha1.ReasonRenderFailed, "templates include each other deeper than %d: %s", maxDepth, strings.Join(path, " → "))
	}
	if r.templates++; r.templates > maxTemplates {
		return problem(tenancyv1alpha1.ReasonRenderFailed, "more than %d templates are included", maxTemplates)
	}
	template, err := r.Template(ctx, name)
	if err != nil {
		return fmt.Errorf("get template %q: %w", name, err)
	}
	if template == nil {
		return problem(tenancyv1alpha1.ReasonTemplateMissing, "there is no Template %q; see `kubectl get templates`", strings.Join(path, " → "))
	}
	values, err := r.resolve(template.Spec.Parameters, given)
	if err != nil {
		return err
	}
	// First, so that a circle is told as such.
	if err := r.uses(ctx, template.Spec.Includes, values, path); err != nil {
		return err
	}
	if err := r.manifests(template.Spec.Manifests, values); err != nil {
		return err
	}
	if template.Spec.Helm == nil {
		return nil
	}
	return r.helm(ctx, template.Spec.Helm, values)
}

func (r *rendering) uses(ctx context.Context, uses []tenancyv1alpha1.TemplateUse, values parameter.Values, path []string) error {
	for _, use := range uses {
		given := make([]parameter.Given, 0, len(use.Parameters))
		for _, p := range use.Parameters {
			text, isSecret, err := values.Text(p.Value, r.budget)
			if err != nil {
				return problem(tenancyv1alpha1.ReasonRenderFailed, "parameter %q of the included template %q: %w", p.Name, use.Name, err)
			}
			given = append(given, parameter.Given{Name: p.Name, Text: text, Secret: isSecret})
		}
		if err := r.template(ctx, use.Name, given, path); err != nil {
			return err
		}
	}
	return nil
}

func (r *rendering) manifests(manifests []runtime.RawExtension, values parameter.Values) error {
	for i := range manifests {
		var parsed map[string]any
		// Not encoding/json: its numbers are all floats.
		if err := utiljson.Unmarshal(manifests[i].Raw, &parsed); err != nil {
			return problem(tenancyv1alpha1.ReasonRenderFailed, "object %d of the template is none: %w", i+1, err)
		}
		object, err := values.Object(parsed, r.budget)
		if err != nil {
			return problem(tenancyv1alpha1.ReasonRenderFailed, "object %d of the template: %w", i+1, err)
		}
		if err := r.add(object); err != nil {
			return problem(tenancyv1alpha1.ReasonRenderFailed, "object %d of the template: %w", i+1, err)
		}
	}
	return nil
}

func (r *rendering) helm(ctx context.Context, helm *tenancyv1alpha1.TemplateHelm, values parameter.Values) error {
	archive, err := r.Fetcher.Fetch(ctx, &helm.Chart)
	if err != nil {
		return problem(tenancyv1alpha1.ReasonChartUnavailable, "%w", err)
	}
	chartValues, err := r.chartValues(helm, values)
	if err != nil {
		return err
	}
	neutralValues, placeholders := values.Neutral()
	neutral, err := r.chartValues(helm, neutralValues)
	if err != nil {
		return err
	}
	release := chart.Release{Name: helm.ReleaseName, Namespace: r.target.Namespace}
	if release.Name == "" {
		release.Name = r.target.Instance
	}
	objects, err := r.Charts.Render(ctx, archive, release, chartValues, neutral, placeholders)
	if err != nil {
		return problem(tenancyv1alpha1.ReasonRenderFailed, "%w", err)
	}
	for i, object := range objects {
		if err := r.add(object); err != nil {
			return problem(tenancyv1alpha1.ReasonRenderFailed, "object %d of the chart: %w", i+1, err)
		}
	}
	return nil
}

func (r *rendering) chartValues(helm *tenancyv1alpha1.TemplateHelm, values parameter.Values) (map[string]any, error) {
	parsed := map[string]any{}
	if helm.Values != nil && len(helm.Values.Raw) > 0 {
		if err := utiljson.Unmarshal(helm.Values.Raw, &parsed); err != nil {
			return nil, problem(tenancyv1alpha1.ReasonRenderFailed, "the template's values for the chart cannot be read: %w", err)
		}
	}
	replaced, err := values.ChartValues(parsed, r.budget)
	if err != nil {
		return nil, problem(tenancyv1alpha1.ReasonRenderFailed, "the template's values for the chart: %w", err)
	}
	return replaced, nil
}

// add takes an object into the result.
func (r *rendering) add(object map[string]any) error {
	// Go templates and YAML make numbers of other types than those that a tree of an object may hold.
	encoded, err := utiljson.Marshal(object)
	if err != nil {
		return fmt.Errorf("write it as JSON: %w", err)
	}
	var tree map[string]any
	if err := utiljson.Unmarshal(encoded, &tree); err != nil {
		return fmt.Errorf("read it as JSON: %w", err)
	}
	added := &unstructured.Unstructured{Object: tree}
	if err := r.checkObject(added); err != nil {
		return err
	}
	if len(r.objects) == MaxObjects {
		return fmt.Errorf("it would be more than %d objects", MaxObjects)
	}
	r.objects = append(r.objects, added)
	return nil
}

func (r *rendering) finish() (*Result, error) {
	if len(r.objects) > 0 {
		total := 0
		for _, object := range r.objects {
			encoded, err := object.MarshalJSON()
			if err != nil {
				return nil, withoutSecrets(problem(tenancyv1alpha1.ReasonRenderFailed, "write the objects: %w", err), r.secrets)
			}
			total += len(encoded)
		}
		if total > maxBytes {
			return nil, NewProblem(tenancyv1alpha1.ReasonRenderFailed, errors.New("the objects are larger than 1 MiB together"))
		}
	}
	order(r.objects)
	return &Result{Objects: r.objects, HasSecrets: len(r.secrets) > 0}, nil
}
