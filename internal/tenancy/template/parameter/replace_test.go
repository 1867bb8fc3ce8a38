package parameter

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var sample = Values{
	"name":     {text: "web", typed: "web"},
	"replicas": {text: "3", typed: int64(3)},
	"on":       {text: "true", typed: true},
	"password": {text: "s3cret", typed: "s3cret", secret: true},
	"braces":   {text: "{{ .Values }}", typed: "{{ .Values }}"},
	"open":     {text: "a{", typed: "a{"},
	"json":     {text: `{"a":1}`, typed: `{"a":1}`},
	"dollar":   {text: "${password}", typed: "${password}"},
}

func TestObject(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		template any
		want     any
		problem  string
	}{
		"typed":                     {template: "${replicas}", want: int64(3)},
		"boolean":                   {template: "${on}", want: true},
		"written":                   {template: "${replicas} of ${name}", want: "3 of web"},
		"twice":                     {template: "${name}${name}", want: "webweb"},
		"space makes it a text":     {template: " ${replicas}", want: " 3"},
		"escaped":                   {template: "$${replicas}", want: "${replicas}"},
		"escaped twice":             {template: "$$${replicas}", want: "$${replicas}"},
		"escaped and not":           {template: "$${name}-${name}", want: "${name}-web"},
		"dollars":                   {template: "$ $5 $$ $(X) $", want: "$ $5 $$ $(X) $"},
		"a value is not read again": {template: "${dollar}", want: "${password}"},
		"nor in a text":             {template: "x${dollar}", want: "x${password}"},
		"keys stay":                 {template: map[string]any{"${name}": "${name}"}, want: map[string]any{"${name}": "web"}},
		"lists":                     {template: []any{"${name}", 1.5, nil, "x"}, want: []any{"web", 1.5, nil, "x"}},
		"unknown":                   {template: map[string]any{"a": []any{"${x}"}}, problem: `spec.a[0]: the template has no parameter "x"`},
		"shell":                     {template: "${HOME:-/}", problem: `no parameter "HOME:-/"`},
		"not closed":                {template: "${name", problem: "is not closed"},
		"empty name":                {template: "${}", problem: `no parameter ""`},
		"secret":                    {template: "${password}", want: "s3cret"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := sample.Object(map[string]any{"spec": test.template}, NewBudget(1000))
			if problem := message(err); !strings.Contains(problem, test.problem) || (test.problem == "") != (err == nil) {
				t.Fatalf("got the error %q, want %q", problem, test.problem)
			}
			if err == nil {
				if diff := cmp.Diff(map[string]any{"spec": test.want}, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestSecretsStayOutOfWhatIsShown(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"apiVersion", "kind", "metadata"} {
		for _, template := range []string{"${password}", "a-${password}"} {
			_, err := sample.Object(map[string]any{key: map[string]any{"name": template}}, NewBudget(1000))
			if err == nil || !strings.Contains(err.Error(), "a value from a Secret") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s with %s: got the error %v", key, template, err)
			}
		}
	}
	if _, err := sample.Object(map[string]any{"metadata": map[string]any{"name": "${name}"}}, NewBudget(1000)); err != nil {
		t.Errorf("what is no secret may stand there: %v", err)
	}
}

func TestChartValues(t *testing.T) {
	t.Parallel()
	for template, allowed := range map[string]bool{
		"${name}": true, "${json}": true, "{{ .Release.Name }}-${name}": true,
		"${braces}": false, "a ${braces}": false, "${open}": false, "${open}{ .x }}": false,
	} {
		_, err := sample.ChartValues(map[string]any{"a": map[string]any{"b": template}}, NewBudget(1000))
		if (err == nil) != allowed {
			t.Errorf("%s: got the error %v, want none: %t", template, err, allowed)
		}
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	values := Values{"x": {text: strings.Repeat("x", 16384), typed: "x"}}
	for _, template := range []any{strings.Repeat("${x}", 1000), slices.Repeat([]any{"${x}"}, 1000)} {
		budget := NewBudget(1 << 20)
		if _, err := values.Object(map[string]any{"spec": template}, budget); !errors.Is(err, ErrTooLarge) {
			t.Errorf("got the error %v", err)
		}
	}
}

// No value can add a key, an element or an object, nor change what stands beside it.
func FuzzValuesAreData(f *testing.F) {
	for _, value := range []string{
		"", "x", "a: b", "\n  hostNetwork: true", "---\nkind: ClusterRole", `"}, {"kind": "Secret`, "${other}", "$${", "{{ .Values }}",
		"&a [*a]", "!!binary x", "\x00", "\u2028", `\u0022`, "null", "true", "0x10", "1e3", "- x", "# x", "'", "|", ">",
	} {
		f.Add(value, "name: ${x}", "${x}")
	}
	f.Fuzz(func(t *testing.T, value, inText, alone string) {
		if !isText(value) || !isText(inText) || !isText(alone) {
			return
		}
		values := Values{"x": {text: value, typed: value}, "other": {text: "other", typed: "other"}}
		template := map[string]any{
			"kind": "ConfigMap", "data": map[string]any{"a": "${x}", "b": inText, "c": alone, inText: "x"}, "list": []any{"${x}", alone},
		}
		before := shape(template)
		got, err := values.Object(template, NewBudget(1<<20))
		if err != nil {
			return
		}
		// What is sent is JSON: the shape must still be the same when it is read again.
		encoded, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var decoded map[string]any
		if err := json.Unmarshal(encoded, &decoded); err != nil {
			t.Fatalf("%q is no JSON any more: %v", encoded, err)
		}
		if after := shape(decoded); after != before {
			t.Errorf("the shape was\n%s\nand is\n%s", before, after)
		}
		if data, ok := decoded["data"].(map[string]any); !ok || data["a"] != value || decoded["kind"] != "ConfigMap" {
			t.Errorf("got %q for %q", data["a"], value)
		}
	})
}

// shape writes a tree without its texts.
func shape(node any) string {
	switch node := node.(type) {
	case map[string]any:
		var all []string
		for _, key := range slices.Sorted(maps.Keys(node)) {
			all = append(all, fmt.Sprintf("%q:%s", key, shape(node[key])))
		}
		return "{" + strings.Join(all, ",") + "}"
	case []any:
		var all []string
		for _, child := range node {
			all = append(all, shape(child))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	return "."
}
