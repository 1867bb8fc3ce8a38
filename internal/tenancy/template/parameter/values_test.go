package parameter

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	type definition = tenancyv1alpha1.TemplateParameter
	tests := map[string]struct {
		definition definition
		given      []Given
		want       any
		problem    string
	}{
		"text":                          {definition: definition{}, given: []Given{{Text: "a: b\n- c"}}, want: "a: b\n- c"},
		"nothing given":                 {definition: definition{}, want: ""},
		"nothing given of a number":     {definition: definition{Type: "number"}, want: float64(0)},
		"nothing given of a quantity":   {definition: definition{Type: "quantity"}, want: "0"},
		"default":                       {definition: definition{Type: "integer", Default: new("3")}, want: int64(3)},
		"given before the default":      {definition: definition{Type: "integer", Default: new("3")}, given: []Given{{Text: "-4"}}, want: int64(-4)},
		"empty text before the default": {definition: definition{Default: new("x")}, given: []Given{{Text: ""}}, want: ""},
		"bad default":                   {definition: definition{Type: "integer", Default: new("x")}, problem: "the template's own default"},
		"required":                      {definition: definition{Required: true}, problem: "is required and not given"},
		"boolean":                       {definition: definition{Type: "boolean"}, given: []Given{{Text: "true"}}, want: true},
		"YAML's booleans":               {definition: definition{Type: "boolean"}, given: []Given{{Text: "yes"}}, problem: "write true or false"},
		"fraction as integer":           {definition: definition{Type: "integer"}, given: []Given{{Text: "1.5"}}, problem: "write a whole number"},
		"too large an integer":          {definition: definition{Type: "integer"}, given: []Given{{Text: "9223372036854775808"}}, problem: "write a whole number"},
		"number":                        {definition: definition{Type: "number"}, given: []Given{{Text: "-0.5e1"}}, want: float64(-5)},
		"not a number":                  {definition: definition{Type: "number"}, given: []Given{{Text: "NaN"}}, problem: "write a number"},
		"hexadecimal":                   {definition: definition{Type: "number"}, given: []Given{{Text: "0x10"}}, problem: "write a number"},
		"a list as number":              {definition: definition{Type: "number"}, given: []Given{{Text: "[1]"}}, problem: "write a number"},
		"infinite number":               {definition: definition{Type: "number"}, given: []Given{{Text: "1e999"}}, problem: "write a number"},
		"quantity":                      {definition: definition{Type: "quantity"}, given: []Given{{Text: "2Gi"}}, want: "2Gi"},
		"wrong unit":                    {definition: definition{Type: "quantity"}, given: []Given{{Text: "2GB"}}, problem: "write an amount"},
		"pattern is of the whole text":  {definition: definition{Pattern: "[a-z]+"}, given: []Given{{Text: "abc\nX"}}, problem: "does not match the pattern"},
		"alternatives of a pattern":     {definition: definition{Pattern: "a|b"}, given: []Given{{Text: "bc"}}, problem: "does not match the pattern"},
		"pattern that fits":             {definition: definition{Pattern: "a|b"}, given: []Given{{Text: "b"}}, want: "b"},
		"bad pattern":                   {definition: definition{Pattern: "("}, given: []Given{{Text: "b"}}, problem: "pattern cannot be read"},
		"option":                        {definition: definition{Options: []string{"s", "m"}}, given: []Given{{Text: "m"}}, want: "m"},
		"no option":                     {definition: definition{Options: []string{"s", "m"}}, given: []Given{{Text: "l"}}, problem: `"l" is not one of s, m`},
		"no UTF-8":                      {definition: definition{}, given: []Given{{Text: "\xff"}}, problem: "UTF-8"},
		"unknown type":                  {definition: definition{Type: "list"}, given: []Given{{Text: "1"}}, problem: "type that is not known"},
		"unknown parameter":             {definition: definition{}, given: []Given{{Name: "y", Text: "1"}}, problem: `parameter "y" is not one of the template; it has x`},
		"twice":                         {definition: definition{}, given: []Given{{Text: "1"}, {Text: "2"}}, problem: "is given twice"},
		"the predefined":                {definition: definition{}, given: []Given{{Name: "namespace", Text: "kube-system"}}, problem: `"namespace" is not one`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.definition.Name = "x"
			for i := range test.given {
				if test.given[i].Name == "" {
					test.given[i].Name = "x"
				}
			}
			values, err := Resolve([]definition{test.definition}, test.given, map[string]string{Namespace: "space"})
			if problem := message(err); !strings.Contains(problem, test.problem) || (test.problem == "") != (err == nil) {
				t.Fatalf("got the error %q, want %q", problem, test.problem)
			}
			if err == nil {
				if diff := cmp.Diff(test.want, values["x"].typed); diff != "" {
					t.Error(diff)
				}
			}
			if got := values[Namespace].text; got != "space" {
				t.Errorf("${namespace} is %q", got)
			}
		})
	}
}

func TestErrorsDoNotShowSecrets(t *testing.T) {
	t.Parallel()
	const secret = "correct horse"
	for _, definition := range []tenancyv1alpha1.TemplateParameter{
		{Type: "integer"},
		{Type: "number"},
		{Type: "boolean"},
		{Type: "quantity"},
		{Type: "string", Pattern: "[a-z]+"},
		{Type: "string", Options: []string{"a"}},
		{Type: "list"},
	} {
		definition.Name = "x"
		_, err := Resolve([]tenancyv1alpha1.TemplateParameter{definition}, []Given{{Name: "x", Text: secret, Secret: true}}, nil)
		if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "horse") {
			t.Errorf("%+v: got the error %v", definition, err)
		}
		_, err = Resolve([]tenancyv1alpha1.TemplateParameter{definition}, []Given{{Name: "x", Text: secret}}, nil)
		if definition.Type != "list" && definition.Type != "string" && !strings.Contains(err.Error(), secret) {
			t.Errorf("what is no secret should be shown: %v", err)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
