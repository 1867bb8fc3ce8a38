package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/charttest"
)

const shop = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-web
  labels: {version: {{ .Chart.Version | quote }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: web
        image: registry/{{ .Values.image }}:v1
{{- if .Values.settings }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  settings: {{ .Values.settings | quote }}
{{- end }}
`

func pack(t *testing.T, version, manifests string) []byte {
	t.Helper()
	return charttest.Pack(t, map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: shop\nversion: " + version + "\n", "templates/all.yaml": manifests,
	})
}

// A chart from a repository is rendered, applied, followed to its next version, and cannot be broken out of.
func TestHelm(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil)
	e.space(t, "web")
	archives := map[string][]byte{"1.0.0": pack(t, "1.0.0", shop), "1.1.0": pack(t, "1.1.0", strings.ReplaceAll(shop, ":v1", ":v2"))}
	repository := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/index.yaml" {
			fmt.Fprint(w, "entries: {shop: [{version: 1.0.0, urls: [shop-1.0.0.tgz]}, {version: 1.1.0, urls: [shop-1.1.0.tgz]}]}")
			return
		}
		archive, ok := archives[strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/shop-"), ".tgz")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if _, err := w.Write(archive); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(repository.Close)
	values := manifests(t, "{replicas: '${replicas}', image: '${image}', settings: '${settings}'}")[0]
	template := &tenancyv1alpha1.Template{ObjectMeta: named("shop"), Spec: tenancyv1alpha1.TemplateSpec{
		Parameters: []tenancyv1alpha1.TemplateParameter{{Name: "replicas", Type: "integer", Default: new("1")}, {Name: "image", Required: true}, {Name: "settings"}},
		Helm: &tenancyv1alpha1.TemplateHelm{
			Chart:  tenancyv1alpha1.HelmChart{Repository: &tenancyv1alpha1.HelmRepository{URL: repository.URL, Name: "shop", Version: "1.0.0"}},
			Values: &values,
		},
	}}
	e.Create(t, template)
	e.must(t, instance("web", "mine", "shop", value("replicas", "3"), value("image", "nginx"), value("settings", "a: b # c\nd: {e}")))
	e.awaitReason(t, "web", "mine", tenancyv1alpha1.ReasonApplied)
	deployment := &appsv1.Deployment{ObjectMeta: in("web", "mine-web")}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(deployment), deployment); err != nil || *deployment.Spec.Replicas != 3 ||
		deployment.Spec.Template.Spec.Containers[0].Image != "registry/nginx:v1" || deployment.Labels["version"] != "1.0.0" {
		t.Fatalf("got %+v (%v)", deployment.Spec, err)
	}
	e.awaitData(t, "web", "settings", "settings", "a: b # c\nd: {e}")

	// What the chart does not quote.
	const evil = "nginx:v9\n        securityContext: {privileged: true} #"
	edit(t, e, e.ann, instance("web", "mine", ""), func(i *tenancyv1alpha1.TemplateInstance) { i.Spec.Parameters[1] = value("image", evil) })
	e.awaitWords(t, "web", "mine", tenancyv1alpha1.ReasonRenderFailed, "changes what the chart makes beside it")
	edit(t, e, e.ann, instance("web", "mine", ""), func(i *tenancyv1alpha1.TemplateInstance) {
		i.Spec.Parameters = []tenancyv1alpha1.InstanceParameter{value("image", "httpd"), value("replicas", "2")}
	})
	e.awaitReason(t, "web", "mine", tenancyv1alpha1.ReasonApplied)
	e.Eventually(t, "the ConfigMap is pruned", e.IsGone(t, configMap("web", "settings")))

	edit(t, e, e.Admin, template, func(s *tenancyv1alpha1.Template) { s.Spec.Helm.Chart.Repository.Version = "1.1.0" })
	e.Eventually(t, "the next version is applied", func() error {
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(deployment), deployment); err != nil || deployment.Spec.Template.Spec.Containers[0].Image != "registry/httpd:v2" {
			return errorf("the image is %s (%v)", deployment.Spec.Template.Spec.Containers[0].Image, err)
		}
		return nil
	})
	edit(t, e, e.Admin, template, func(s *tenancyv1alpha1.Template) { s.Spec.Helm.Chart.Repository.Version = "2.0.0" })
	e.awaitReason(t, "web", "mine", tenancyv1alpha1.ReasonChartUnavailable)
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(deployment), deployment); err != nil {
		t.Errorf("what was applied is gone when the chart is: %v", err)
	}
}

// What the API server itself refuses.
func TestBadInput(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil)
	e.space(t, "web")
	objects := manifests(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}")
	// Bytes that are "+" and "/" in base64.
	inline := &tenancyv1alpha1.TemplateHelm{Chart: tenancyv1alpha1.HelmChart{Inline: []byte{0xfb, 0xef, 0xff}}}
	e.Create(t, &tenancyv1alpha1.Template{ObjectMeta: named("inline"), Spec: tenancyv1alpha1.TemplateSpec{Helm: inline}})
	at := func(url, version string) tenancyv1alpha1.TemplateSpec {
		return tenancyv1alpha1.TemplateSpec{Helm: &tenancyv1alpha1.TemplateHelm{Chart: tenancyv1alpha1.HelmChart{
			Repository: &tenancyv1alpha1.HelmRepository{URL: url, Name: "a", Version: version},
		}}}
	}
	with := func(p tenancyv1alpha1.TemplateParameter) tenancyv1alpha1.TemplateSpec {
		return tenancyv1alpha1.TemplateSpec{Manifests: objects, Parameters: []tenancyv1alpha1.TemplateParameter{p}}
	}
	for words, spec := range map[string]tenancyv1alpha1.TemplateSpec{
		"needs manifests, a Helm chart or": {},
		"either manifests or a Helm chart": {Manifests: objects, Helm: inline},
		"at least 1 properties":            {Helm: &tenancyv1alpha1.TemplateHelm{}},
		"spec.helm.chart.repository.url":   at("file:///etc/passwd", "1.0.0"),
		"spec.helm.chart.repository.ver":   at("https://charts.example.com", "latest"),
		"are given by Matryoshka":          with(tenancyv1alpha1.TemplateParameter{Name: "namespace"}),
		"required means nothing":           with(tenancyv1alpha1.TemplateParameter{Name: "a", Required: true, Default: new("x")}),
		"spec.parameters[0].type":          with(tenancyv1alpha1.TemplateParameter{Name: "a", Type: "list"}),
		"spec.parameters[0].name":          with(tenancyv1alpha1.TemplateParameter{Name: "a}b"}),
	} {
		wantRefusal(t, words, e.Admin.Create(t.Context(), &tenancyv1alpha1.Template{ObjectMeta: named("bad"), Spec: spec}), words)
	}
	e.Create(t, &tenancyv1alpha1.Template{ObjectMeta: named("good"), Spec: at("oci://127.0.0.1:5000/charts", "v1.0.0-rc.1+build")})

	both := value("a", "x")
	both.ValueFrom = &tenancyv1alpha1.ParameterSource{SecretKeyRef: tenancyv1alpha1.SecretKey{Name: "a", Key: "b"}}
	twice := instance("web", "bad", "good")
	twice.Spec.SpaceTemplate = "default"
	for words, object := range map[string]*tenancyv1alpha1.TemplateInstance{
		"either value or valueFrom":  instance("web", "bad", "good", both),
		"Duplicate value":            instance("web", "bad", "good", value("a", "1"), value("a", "2")),
		"must be a DNS label":        instance("web", "bad.name", "good"),
		"template or of a space tem": twice,
	} {
		wantRefusal(t, words, e.Admin.Create(t.Context(), object), words)
	}
	e.must(t, instance("web", "mine", "good"))
	moved := &tenancyv1alpha1.TemplateInstance{}
	e.Eventually(t, "spec.template cannot be changed", func() error {
		if err := e.Admin.Get(t.Context(), client.ObjectKey{Namespace: "web", Name: "mine"}, moved); err != nil {
			return err
		}
		moved.Spec.Template = "other"
		if err := e.Admin.Update(t.Context(), moved); err == nil || !strings.Contains(err.Error(), "spec.template cannot be changed") {
			return errorf("got %v", err)
		}
		return nil
	})

	// Circles are found when they are rendered.
	for name, other := range map[string]string{"ping": "pong", "pong": "ping"} {
		e.Create(t, &tenancyv1alpha1.Template{ObjectMeta: named(name), Spec: tenancyv1alpha1.TemplateSpec{Manifests: objects, Includes: []tenancyv1alpha1.TemplateUse{{Name: other}}}})
	}
	e.must(t, instance("web", "circle", "ping"))
	if got := e.awaitReason(t, "web", "circle", tenancyv1alpha1.ReasonTemplateCircular); !strings.Contains(message(got), "ping → pong → ping") {
		t.Errorf("got %q", message(got))
	}
	e.mustNotExist(t, "web", "a")

	// An identity that somebody has made before its name was kept free.
	e.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "old", Labels: map[string]string{"matryoshka.dev/adopt": "team"}}})
	e.Create(t, &corev1.ServiceAccount{ObjectMeta: in("old", "matryoshka-templates")})
	e.Create(t, &tenancyv1alpha1.Space{ObjectMeta: named("old"), Spec: tenancyv1alpha1.SpaceSpec{Account: "team", Adopt: true}})
	e.awaitUse(t, "old")
	e.template(t, "plain", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}")
	e.must(t, instance("old", "mine", "plain"))
	e.awaitReason(t, "old", "mine", tenancyv1alpha1.ReasonIdentityTaken)
	e.mustNotExist(t, "old", "a")
}
