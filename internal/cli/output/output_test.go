package output

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

func newFlags(t *testing.T, args ...string) *Flags {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	flags := &Flags{}
	command := &cobra.Command{}
	flags.AddFlags(command, scheme, true)
	if err := command.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return flags
}

// pods are as a typed client returns them: without kinds.
func pods() *corev1.PodList {
	return &corev1.PodList{Items: []corev1.Pod{
		{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "x", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: "x"}},
	}}
}

func podTable() *metav1.Table {
	return &metav1.Table{
		ColumnDefinitions: []metav1.TableColumnDefinition{{Name: "Name"}, {Name: "Node", Priority: 1}},
		Rows:              []metav1.TableRow{{Cells: []any{"a", "n1"}}, {Cells: []any{"b", "n2"}}},
	}
}

func TestPrintList(t *testing.T) {
	cases := map[string]struct {
		args []string
		want string
	}{
		"default":    {nil, "NAME\na\nb\n"},
		"table":      {[]string{"-o", "table"}, "NAME\na\nb\n"},
		"wide":       {[]string{"-o", "wide"}, "NAME   NODE\na      n1\nb      n2\n"},
		"no headers": {[]string{"--no-headers"}, "a\nb\n"},
		"name":       {[]string{"-o", "name"}, "pod/a\npod/b\n"},
		"jsonpath":   {[]string{"-o", "jsonpath={.items[*].metadata.name}"}, "a b"},
		"columns":    {[]string{"-o", "custom-columns=POD:.metadata.name,IN:.metadata.namespace"}, "POD   IN\na     x\nb     x\n"},
		"only cells": {[]string{"-o", "custom-columns=POD:.metadata.name", "--no-headers"}, "a\nb\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			flags := newFlags(t, c.args...)
			if err := flags.Validate(true); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := flags.Print(&out, pods(), podTable); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, out.String()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJSONIsWhatTheAPIReturns(t *testing.T) {
	var out bytes.Buffer
	if err := newFlags(t, "-o", "json").Print(&out, pods(), nil); err != nil {
		t.Fatal(err)
	}
	var seen struct {
		APIVersion, Kind string
		Items            []map[string]any
	}
	if err := json.Unmarshal(out.Bytes(), &seen); err != nil {
		t.Fatal(err)
	}
	if seen.Kind != "PodList" || seen.APIVersion != "v1" {
		t.Errorf("list is %s %s, want v1 PodList", seen.APIVersion, seen.Kind)
	}
	for _, item := range seen.Items {
		if item["kind"] != "Pod" || item["apiVersion"] != "v1" {
			t.Errorf("item is %v %v, want v1 Pod", item["apiVersion"], item["kind"])
		}
		if _, shown := item["metadata"].(map[string]any)["managedFields"]; shown {
			t.Error("managed fields are shown; nobody reads them")
		}
	}
}

func TestUnknownFormatIsAUsageError(t *testing.T) {
	for _, format := range []string{"papyrus", "jsonpath={", "go-template={{", "custom-columns", "custom-columns=", "custom-columns=NAME"} {
		if err := newFlags(t, "-o", format).Validate(true); exit.CodeOf(err) != exit.Usage {
			t.Errorf("-o %s: error %v, want a usage error", format, err)
		}
	}
	if err := newFlags(t, "-o", "wide").Validate(false); exit.CodeOf(err) != exit.Usage {
		t.Errorf("-o wide of a command without a table: error %v, want a usage error", err)
	}
}
