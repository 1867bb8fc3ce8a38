package chart

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/charttest"
)

const configMap = `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  key: {{ .Values.x | quote }}
`

func TestRender(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		files   map[string]string
		problem string
		want    []string
	}{
		"objects, in the order of files": {
			files: map[string]string{
				"templates/b.yaml": configMap + "---\n---\napiVersion: v1\nkind: Secret\n", "templates/a.yaml": "kind: A\n", "templates/NOTES.txt": "kind: B",
				"templates/_x.tpl": "{{ fail \"a partial\" }}",
			},
			want: []string{"A", "ConfigMap", "Secret"},
		},
		"tests are left out": {
			files: map[string]string{"templates/a.yaml": "kind: A\nmetadata: {annotations: {helm.sh/hook: \"test, test-failure\"}}\n"},
		},
		"hooks": {
			files:   map[string]string{"templates/a.yaml": "kind: A\nmetadata: {annotations: {helm.sh/hook: \"test,pre-install\"}}\n"},
			problem: "hooks are not supported",
		},
		"CRDs":                       {files: map[string]string{"crds/a.yaml": "kind: CustomResourceDefinition\n"}, problem: "brings CRDs"},
		"library":                    {files: map[string]string{"Chart.yaml": charttest.ChartFile + "type: library\n"}, problem: "type library"},
		"no chart":                   {files: map[string]string{"Chart.yaml": "name: x"}, problem: "chart"},
		"missing dependency":         {files: map[string]string{"Chart.yaml": charttest.ChartFile + "dependencies: [{name: redis, version: 1.0.0}]\n"}, problem: "needs chart redis"},
		"newer Kubernetes":           {files: map[string]string{"Chart.yaml": charttest.ChartFile + "kubeVersion: '>=1.99'\n"}, problem: "the host cluster has v1.36.3"},
		"the host's version":         {files: map[string]string{"templates/a.yaml": "kind: {{ .Capabilities.KubeVersion.Minor | quote }}\n"}, want: []string{"36"}},
		"nothing can be looked up":   {files: map[string]string{"templates/a.yaml": "kind: {{ len (lookup \"v1\" \"Secret\" \"kube-system\" \"\") | quote }}\n"}, want: []string{"0"}},
		"no names can be looked up":  {files: map[string]string{"templates/a.yaml": "kind: {{ getHostByName \"localhost\" | quote }}\n"}, want: []string{""}},
		"no environment":             {files: map[string]string{"templates/a.yaml": "kind: {{ env \"HOME\" }}\n"}, problem: "env"},
		"failing":                    {files: map[string]string{"templates/a.yaml": "{{ fail \"because\" }}"}, problem: "because"},
		"no YAML":                    {files: map[string]string{"templates/a.yaml": "a: b: c"}, problem: "no YAML"},
		"schema":                     {files: map[string]string{"values.schema.json": `{"type":"object","required":["y"]}`}, problem: "missing property 'y'"},
		"schema that refers inside":  {files: map[string]string{"values.schema.json": `{"$ref":"#/$defs/a","$defs":{"a":{"type":"object"}}}`}},
		"schema that refers outside": {files: map[string]string{"values.schema.json": `{"properties":{"a":{"$ref":"http://127.0.0.1:1/x"}}}`}, problem: "refers to other schemas"},
		"schema of another kind":     {files: map[string]string{"values.schema.json": `{"$schema":"http://127.0.0.1:1/x"}`}, problem: "refers to other schemas"},
		"as large as may be": {
			files: map[string]string{
				"a": strings.Repeat("line\n", 1_000_000), "b": strings.Repeat("line\n", 1_000_000), "c": strings.Repeat("line\n", 1_000_000),
				"templates/a.yaml": "kind: A\ndata: {{ .Files.Get \"a\" | trunc 3000000 | quote }}",
			},
			want: []string{"A"},
		},
		"too large unpacked": {files: map[string]string{"a": strings.Repeat("x", maxUnpacked)}, problem: "when it is unpacked"},
		"too much rendered":  {files: map[string]string{"templates/a.yaml": "a: {{ repeat 5000000 \"x\" }}"}, problem: "renders more than"},
		"too many objects":   {files: map[string]string{"templates/a.yaml": "{{ range until 1001 }}\n---\na: b\n{{ end }}"}, problem: "more than 1000 objects"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, err := NewRenderer(version).Render(t.Context(), charttest.Pack(t, test.files), Release{Name: "r", Namespace: "space"}, map[string]any{"x": "1"}, nil, nil)
			mustContain(t, err, test.problem)
			var kinds []string
			for _, object := range objects {
				kind, _ := object["kind"].(string)
				kinds = append(kinds, kind)
			}
			if diff := cmp.Diff(test.want, kinds); err == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
	_, err := NewRenderer(version).Render(t.Context(), []byte("x"), Release{}, nil, nil, nil)
	mustContain(t, err, "no gzipped archive")
}

// A chart prints values into text. What a value could do there is seen by rendering the chart a second time.
func TestValuesDoNotBreakOut(t *testing.T) {
	t.Parallel()
	const unquoted = "kind: Pod\nspec:\n  containers:\n  - image: registry/{{ .Values.x }}:v1\n    args: [{{ .Values.y }}]\n  hostNetwork: false\n"
	const careful = "kind: Pod\nsum: {{ sha256sum .Values.x }}\nupper: {{ upper .Values.x | quote }}\nspec:\n  x: {{ .Values.x | quote }}\n  y: |\n{{ .Values.x | indent 4 }}\n  z: {{ toYaml .Values.x | nindent 4 }}\n"
	tests := map[string]struct {
		chart   string
		x, y    string
		refused bool
	}{
		"plain":                   {chart: unquoted, x: "web", y: "a"},
		"a key":                   {chart: unquoted, x: "web\n  hostPID: true\n  a", refused: true},
		"a key that is there":     {chart: unquoted, x: "web", y: "a]\n  hostNetwork: true\n  other: [b", refused: true},
		"an element":              {chart: unquoted, x: "web", y: "a, --privileged", refused: true},
		"a map":                   {chart: unquoted, x: "web", y: "{a: b}", refused: true},
		"a document":              {chart: unquoted, x: "web\n---\nkind: Secret\na", refused: true},
		"a comment":               {chart: unquoted, x: "evil #", refused: true},
		"an anchor":               {chart: unquoted, x: "web", y: "&a a", refused: true},
		"no YAML at all":          {chart: unquoted, x: "web", y: "\"", refused: true},
		"quoted, special":         {chart: careful, x: "a: b # {c}, \"d\" 'e' & *f"},
		"quoted, lines":           {chart: careful, x: "a\n  b: c\n- d"},
		"quoted, an ending break": {chart: careful, x: "a: b\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := map[string]any{"x": test.x, "y": test.y}
			neutral := map[string]any{"x": "placeholder0x", "y": "placeholder1x"}
			placeholders := map[string]string{"placeholder0x": test.x, "placeholder1x": test.y}
			archive := charttest.Pack(t, map[string]string{"templates/a.yaml": test.chart})
			_, err := NewRenderer(version).Render(t.Context(), archive, Release{Name: "r", Namespace: "space"}, values, neutral, placeholders)
			if (err != nil) != test.refused {
				t.Errorf("got the error %v, want one: %t", err, test.refused)
			}
		})
	}
}

// A chart that repeats something by a number which a member gives takes neither the agent's memory nor its time.
func TestHostileChartEnds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		chart   string
		x       int64
		problem string
	}{
		"memory": {"{{ repeat (int .Values.x) \"x\" }}", 4_000_000_000, "more than 256 MiB of memory"},
		"time":   {"{{ range until (int .Values.x) }}{{ range until (int $.Values.x) }}{{ end }}{{ end }}", 300_000, "10s"},
		// A hundred times what is rendered.
		"answer": {"a: &a {{ repeat (int .Values.x) \"x\" | quote }}\nb: [" + strings.Repeat("*a,", 100) + "*a]", 100_000, "the objects of the chart have more than"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			renderer := NewRenderer(version)
			archive := charttest.Pack(t, map[string]string{"templates/a.yaml": test.chart})
			_, err := renderer.Render(t.Context(), archive, Release{Name: "r", Namespace: "space"}, map[string]any{"x": test.x}, nil, nil)
			mustContain(t, err, test.problem)

			objects, err := renderer.Render(t.Context(), charttest.Pack(t, map[string]string{"templates/a.yaml": "kind: A"}), Release{Name: "r"}, nil, nil, nil)
			if err != nil || len(objects) != 1 {
				t.Errorf("the next chart rendered %v, %v", objects, err)
			}
		})
	}
}
