package render

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/chart"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/charttest"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/parameter"
)

func raw(t testing.TB, manifest string) runtime.RawExtension {
	t.Helper()
	encoded, err := yaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	return runtime.RawExtension{Raw: encoded}
}

func renderer(templates map[string]tenancyv1alpha1.TemplateSpec) *Renderer {
	return &Renderer{
		Template: func(_ context.Context, name string) (*tenancyv1alpha1.Template, error) {
			spec, ok := templates[name]
			if !ok {
				return nil, nil
			}
			return &tenancyv1alpha1.Template{Spec: spec}, nil
		},
		Fetcher: chart.NewFetcher(nil),
		Charts:  chart.NewRenderer(func(context.Context) (string, error) { return "v1.36.3", nil }),
	}
}

var target = Target{Namespace: "web", Account: "team", Instance: "mine"}

func problemOf(err error) string {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Reason + ": " + err.Error()
	}
	return fmt.Sprint(err)
}

func TestManifests(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		manifest string
		problem  string
		want     string
	}{
		"everything": {
			manifest: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: '${name}', labels: {account: '${account}'}, creationTimestamp: null}\nspec: {replicas: '${replicas}', in: 'ns ${namespace}'}",
			want:     `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"labels":{"account":"team"},"name":"x","namespace":"web"},"spec":{"in":"ns web","replicas":2}}`,
		},
		"its own namespace": {
			manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: '${namespace}'}",
			want:     `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"web"}}`,
		},
		"a foreign namespace": {manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: kube-system}", problem: `is for namespace "kube-system"`},
		"no name":             {manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a}", problem: "has no metadata.name"},
		"bad name":            {manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '../a'}", problem: "a name that cannot be one"},
		"name of a role":      {manifest: "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: 'a:b'}", want: `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"a:b","namespace":"web"}}`},
		"no kind":             {manifest: "apiVersion: v1\nmetadata: {name: a}", problem: "no kind"},
		"a list":              {manifest: "apiVersion: v1\nkind: ConfigMapList\nmetadata: {name: a}", problem: "it is a list"},
		"a finalizer":         {manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, finalizers: [a/b]}", problem: "metadata.finalizers is not for templates"},
		"an owner":            {manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, ownerReferences: []}", problem: "metadata.ownerReferences is not for templates"},
		"an instance in a template": {
			manifest: "apiVersion: tenancy.matryoshka.dev/v1alpha1\nkind: TemplateInstance\nmetadata: {name: a}", problem: "cannot make accounts, spaces or templates",
		},
		"our label":               {manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {matryoshka.dev/mandatory: 'true'}}", problem: "is set by Matryoshka only"},
		"a label that is no text": {manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {a: '${replicas}'}}", problem: "must hold texts only"},
		"unknown parameter":       {manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '${nope}'}", problem: `no parameter "nope"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := renderer(map[string]tenancyv1alpha1.TemplateSpec{"t": {
				Parameters: []tenancyv1alpha1.TemplateParameter{{Name: "name"}, {Name: "replicas", Type: "integer"}},
				Manifests:  []runtime.RawExtension{raw(t, test.manifest)},
			}})
			result, err := r.Instance(t.Context(), "t", []parameter.Given{{Name: "name", Text: "x"}, {Name: "replicas", Text: "2"}}, target)
			if test.problem != "" {
				if got := problemOf(err); !strings.HasPrefix(got, "RenderFailed: ") || !strings.Contains(got, test.problem) {
					t.Fatalf("got %s, want %s", got, test.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			encoded, err := result.Objects[0].MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, strings.TrimSpace(string(encoded))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func configMap(t testing.TB, name string) []runtime.RawExtension {
	return []runtime.RawExtension{raw(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "+name+"}\ndata: {x: 'x'}")}
}

func TestIncludes(t *testing.T) {
	t.Parallel()
	use := func(name string, parameters ...tenancyv1alpha1.ParameterValue) []tenancyv1alpha1.TemplateUse {
		return []tenancyv1alpha1.TemplateUse{{Name: name, Parameters: parameters}}
	}
	many := map[string]tenancyv1alpha1.TemplateSpec{"end": {Manifests: configMap(t, "a")}}
	for i := range 7 {
		next := fmt.Sprintf("m%d", i+1)
		if i == 6 {
			next = "end"
		}
		many[fmt.Sprintf("m%d", i)] = tenancyv1alpha1.TemplateSpec{Includes: append(use(next), use(next)...)}
	}
	for i := range 12 {
		many[fmt.Sprintf("d%d", i)] = tenancyv1alpha1.TemplateSpec{Includes: use(fmt.Sprintf("d%d", i+1))}
	}
	many["a"] = tenancyv1alpha1.TemplateSpec{Includes: use("b")}
	many["b"] = tenancyv1alpha1.TemplateSpec{Includes: append(use("end"), use("c")...)}
	many["c"] = tenancyv1alpha1.TemplateSpec{Includes: use("a")}
	many["self"] = tenancyv1alpha1.TemplateSpec{Includes: use("self")}
	many["gone"] = tenancyv1alpha1.TemplateSpec{Includes: use("nothing")}
	many["twice"] = tenancyv1alpha1.TemplateSpec{Includes: append(use("end"), use("end")...)}
	many["inner"] = tenancyv1alpha1.TemplateSpec{
		Parameters: []tenancyv1alpha1.TemplateParameter{{Name: "n", Required: true}}, Manifests: configMap(t, "'${n}'"),
	}
	many["outer"] = tenancyv1alpha1.TemplateSpec{
		Parameters: []tenancyv1alpha1.TemplateParameter{{Name: "n"}},
		Includes:   append(use("inner", tenancyv1alpha1.ParameterValue{Name: "n", Value: "${n}-${account}"}), use("end")...),
	}
	many["wrong"] = tenancyv1alpha1.TemplateSpec{Includes: use("inner")}
	r := renderer(many)
	for name, want := range map[string]string{
		"a":       "TemplateCircular: templates include each other in a circle: a → b → c → a",
		"self":    "TemplateCircular: templates include each other in a circle: self → self",
		"gone":    "TemplateMissing: there is no Template \"gone → nothing\"",
		"nothing": "TemplateMissing: there is no Template \"nothing\"",
		"twice":   "RenderFailed: object 1 of the template: ConfigMap \"a\" is there twice",
		"d0":      "RenderFailed: templates include each other deeper than 8",
		"m0":      "is there twice",
		"wrong":   "ParametersInvalid: parameter \"n\": is required",
	} {
		if _, err := r.Instance(t.Context(), name, nil, target); !strings.Contains(problemOf(err), want) {
			t.Errorf("%s: got %s, want %s", name, problemOf(err), want)
		}
	}
	result, err := r.Instance(t.Context(), "outer", []parameter.Given{{Name: "n", Text: "x"}}, target)
	if err != nil {
		t.Fatal(err)
	}
	if got := []string{result.Objects[0].GetName(), result.Objects[1].GetName()}; !cmp.Equal(got, []string{"x-team", "a"}) {
		t.Errorf("got the objects %v", got)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	var many []runtime.RawExtension
	for i := range MaxObjects + 1 {
		many = append(many, configMap(t, fmt.Sprintf("a%d", i))...)
	}
	large := raw(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '"+strings.Repeat("${x}", 100)+"'}")
	r := renderer(map[string]tenancyv1alpha1.TemplateSpec{
		"many":  {Manifests: many},
		"large": {Parameters: []tenancyv1alpha1.TemplateParameter{{Name: "x"}}, Manifests: []runtime.RawExtension{large}},
	})
	if _, err := r.Instance(t.Context(), "many", nil, target); !strings.Contains(problemOf(err), "more than 200 objects") {
		t.Errorf("got %v", err)
	}
	if _, err := r.Instance(t.Context(), "large", []parameter.Given{{Name: "x", Text: strings.Repeat("x", 16384)}}, target); !strings.Contains(problemOf(err), "too large") {
		t.Errorf("got %v", err)
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	parameters := []tenancyv1alpha1.TemplateParameter{{Name: "p"}, {Name: "n", Type: "integer"}}
	given := []parameter.Given{{Name: "p", Text: secret, Secret: true}}
	helm := func(templates string) tenancyv1alpha1.TemplateSpec {
		values := raw(t, "{p: '${p}'}")
		return tenancyv1alpha1.TemplateSpec{Parameters: parameters, Helm: &tenancyv1alpha1.TemplateHelm{
			Chart: tenancyv1alpha1.HelmChart{Inline: pack(t, templates)}, Values: &values,
		}}
	}
	r := renderer(map[string]tenancyv1alpha1.TemplateSpec{
		"fine":        {Parameters: parameters, Manifests: []runtime.RawExtension{raw(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {p: 'x${p}'}")}},
		"name":        {Parameters: parameters, Manifests: []runtime.RawExtension{raw(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: 'a${p}'}")}},
		"label":       {Parameters: parameters, Manifests: []runtime.RawExtension{raw(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: {a: '${p}'}}")}},
		"helm":        helm("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {p: {{ .Values.p }}}"),
		"helm, name":  helm("apiVersion: v1\nkind: Secret\nmetadata: {name: 'a-{{ .Values.p }}'}"),
		"helm, fails": helm("{{ fail (printf \"because %s\" .Values.p) }}"),
		"included": {Parameters: parameters, Includes: []tenancyv1alpha1.TemplateUse{{Name: "name", Parameters: []tenancyv1alpha1.ParameterValue{
			{Name: "p", Value: "x${p}"},
		}}}},
		"included, number": {Parameters: parameters, Includes: []tenancyv1alpha1.TemplateUse{{Name: "name", Parameters: []tenancyv1alpha1.ParameterValue{
			{Name: "n", Value: "${p}"},
		}}}},
	})
	for _, name := range []string{"fine", "helm"} {
		result, err := r.Instance(t.Context(), name, given, target)
		if err != nil || !result.HasSecrets || !strings.Contains(fmt.Sprint(result.Objects[0].Object), secret) {
			t.Errorf("%s: got %+v and %v", name, result, err)
		}
	}
	for _, name := range []string{"name", "label", "helm, name", "helm, fails", "included", "included, number"} {
		_, err := r.Instance(t.Context(), name, given, target)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func pack(t testing.TB, template string) []byte {
	t.Helper()
	return charttest.Pack(t, map[string]string{"templates/a.yaml": template})
}

// A value that is more than a text in YAML changes nothing of what a chart makes beside it.
func TestHelmValuesDoNotBreakOut(t *testing.T) {
	t.Parallel()
	values := raw(t, "{x: '${x}'}")
	spec := func(p tenancyv1alpha1.TemplateParameter) tenancyv1alpha1.TemplateSpec {
		return tenancyv1alpha1.TemplateSpec{
			Parameters: []tenancyv1alpha1.TemplateParameter{p},
			Helm: &tenancyv1alpha1.TemplateHelm{
				Chart:  tenancyv1alpha1.HelmChart{Inline: pack(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  release: {{ .Release.Name }}\n  x: {{ .Values.x }}")},
				Values: &values,
			},
		}
	}
	r := renderer(map[string]tenancyv1alpha1.TemplateSpec{"free": spec(tenancyv1alpha1.TemplateParameter{Name: "x"})})
	const breakout = "a\n  y: b"
	if _, err := r.Instance(t.Context(), "free", []parameter.Given{{Name: "x", Text: breakout}}, target); !strings.Contains(problemOf(err), "changes what the chart makes beside it") {
		t.Errorf("got %v", err)
	}
	result, err := r.Instance(t.Context(), "free", []parameter.Given{{Name: "x", Text: "plain"}}, target)
	if err != nil || fmt.Sprint(result.Objects[0].Object["data"]) != "map[release:mine x:plain]" {
		t.Errorf("got %+v and %v", result, err)
	}
}

func TestSpaceTemplate(t *testing.T) {
	t.Parallel()
	template := &tenancyv1alpha1.SpaceTemplate{Spec: tenancyv1alpha1.SpaceTemplateSpec{
		Parameters: []tenancyv1alpha1.TemplateParameter{{Name: "stage", Options: []string{"dev"}, Default: new("dev")}},
		Labels:     map[string]string{"stage": "${stage}", "example.com/team": "${account}"},
		Objects:    configMap(t, "own"),
		Templates:  []tenancyv1alpha1.TemplateUse{{Name: "t"}},
	}}
	r := renderer(map[string]tenancyv1alpha1.TemplateSpec{"t": {Manifests: configMap(t, "used")}})
	result, err := r.Space(t.Context(), template, nil, target)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"stage": "dev", "example.com/team": "team"}, result.Labels); diff != "" || len(result.Objects) != 2 {
		t.Errorf("got %d objects and %s", len(result.Objects), diff)
	}
	for _, key := range []string{
		"pod-security.kubernetes.io/enforce", "matryoshka.dev/kind", "ns.matryoshka.dev/x", "kubernetes.io/metadata.name", "istio.io/rev",
		"scheduler.alpha.kubernetes.io/node-selector", "a b",
	} {
		template.Spec.Labels = map[string]string{key: "x"}
		if _, err := r.Space(t.Context(), template, nil, target); !strings.Contains(problemOf(err), "of the namespace") {
			t.Errorf("label %s: got %v", key, err)
		}
		template.Spec.Labels, template.Spec.Annotations = nil, map[string]string{key: "x"}
		if _, err := r.Space(t.Context(), template, nil, target); !strings.Contains(problemOf(err), "of the namespace") {
			t.Errorf("annotation %s: got %v", key, err)
		}
		template.Spec.Annotations = nil
	}
}
