package customresource

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/sets"
)

func hostNamespace(name string) string { return "vc-x7k2p2q4-" + name }

func TestTranslate(t *testing.T) {
	declared := rules{
		references: sets.New(".spec.ref.namespace", ".spec.watchNamespaces[*]", ".spec.peers[*].namespace"),
		plain:      sets.New(".spec.vaultNamespace"), refused: sets.New(".spec.issuer.cluster"),
	}
	for name, test := range map[string]struct {
		content, want string
		refused       bool
	}{
		"nothing":             {content: `{"spec":{"a":[1,"x",null,true]}}`, want: `{"spec":{"a":[1,"x",null,true]}}`},
		"field":               {content: `{"spec":{"ref":{"namespace":"shop"}}}`, want: `{"spec":{"ref":{"namespace":"vc-x7k2p2q4-shop"}}}`},
		"empty":               {content: `{"spec":{"ref":{"namespace":""}}}`, want: `{"spec":{"ref":{"namespace":""}}}`},
		"list of names":       {content: `{"spec":{"watchNamespaces":["a","b"]}}`, want: `{"spec":{"watchNamespaces":["vc-x7k2p2q4-a","vc-x7k2p2q4-b"]}}`},
		"list of objects":     {content: `{"spec":{"peers":[{"namespace":"a"}]}}`, want: `{"spec":{"peers":[{"namespace":"vc-x7k2p2q4-a"}]}}`},
		"plain":               {content: `{"spec":{"vaultNamespace":"kube-system"}}`, want: `{"spec":{"vaultNamespace":"kube-system"}}`},
		"every namespace":     {content: `{"spec":{"watchNamespaces":["*"]}}`, refused: true},
		"no list":             {content: `{"spec":{"watchNamespaces":"kube-system"}}`, refused: true},
		"map for a list":      {content: `{"spec":{"watchNamespaces":{"any":true}}}`, refused: true},
		"list in a list":      {content: `{"spec":{"watchNamespaces":[["kube-system"]]}}`, refused: true},
		"object for a name":   {content: `{"spec":{"ref":{"namespace":{"name":"kube-system"}}}}`, refused: true},
		"undeclared":          {content: `{"spec":{"secretRef":{"namespace":"kube-system"}}}`, refused: true},
		"undeclared selector": {content: `{"spec":{"namespaceSelector":{}}}`, refused: true},
		"at the top":          {content: `{"namespace":"kube-system"}`, refused: true},
		"forbidden":           {content: `{"spec":{"issuer":{"cluster":null}}}`, refused: true},
		"dots for a path":     {content: `{"spec":{"peers[*].namespace":"kube-system"}}`, refused: true},
		"below plain":         {content: `{"spec":{"vaultNamespace":{"namespace":"kube-system"}}}`, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			content := map[string]any{}
			if err := json.Unmarshal([]byte(test.content), &content); err != nil {
				t.Fatal(err)
			}
			err := declared.translate(content, hostNamespace)
			if (err != nil) != test.refused {
				t.Fatalf("refused: %v, want %v", err, test.refused)
			}
			if test.refused {
				return
			}
			want := map[string]any{}
			if err := json.Unmarshal([]byte(test.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, content); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzTranslate: whatever an object says, no field that looks like a namespace's comes out with a name of the tenant's choice.
func FuzzTranslate(f *testing.F) {
	f.Add(`{"spec":{"ref":{"namespace":"kube-system"},"x":[{"Namespace":["a"]}]}}`)
	f.Add(`{"spec":{"ref":[{"namespace":"kube-system"}]}}`)
	f.Add(`{"":{"ref":{"namespace":"kube-system"}},"[*]":{"namespaces":null}}`)
	declared := rules{references: sets.New(".spec.ref.namespace", ".spec.x[*].namespaces[*]")}
	f.Fuzz(func(t *testing.T, text string) {
		content := map[string]any{}
		if json.Unmarshal([]byte(text), &content) != nil || declared.translate(content, hostNamespace) != nil {
			return
		}
		if err := mine(content, false); err != nil {
			t.Errorf("%s came through: %v", text, err)
		}
	})
}

// mine checks that every text below a field that looks like a namespace's is a mapped namespace.
func mine(value any, isName bool) error {
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			if err := mine(field, isName || strings.Contains(strings.ToLower(name), "namespace")); err != nil {
				return err
			}
		}
	case []any:
		for _, element := range value {
			if err := mine(element, isName); err != nil {
				return err
			}
		}
	case string:
		if isName && value != "" && !strings.HasPrefix(value, hostNamespace("")) {
			return fmt.Errorf("a name of the tenant's: %q", value)
		}
	}
	return nil
}

func TestCovers(t *testing.T) {
	for name, test := range map[string]struct {
		have, want any
		covers     bool
	}{
		"defaults added":  {map[string]any{"a": int64(1), "b": "default"}, map[string]any{"a": int64(1)}, true},
		"field lost":      {map[string]any{"b": int64(1)}, map[string]any{"a": int64(1)}, false},
		"element added":   {[]any{"a", "b"}, []any{"a"}, false},
		"default in list": {[]any{map[string]any{"a": "1", "b": "2"}}, []any{map[string]any{"a": "1"}}, true},
		"other type":      {"1", int64(1), false},
	} {
		if got := covers(test.have, test.want); got != test.covers {
			t.Errorf("%s: %v", name, got)
		}
	}
}
