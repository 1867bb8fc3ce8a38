package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matryoshka-dev/matryoshka/test/bench/measure"
	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"-set", "scale", "-only", "scale", "-idle-tenants", "2,5", "-runs", "2"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.measure.Store != "memory" || o.measure.Runs != 2 || len(o.measure.IdleTenants) != 2 || o.measure.IdleTenants[1] != 5 {
		t.Errorf("got %+v", o)
	}
	if names := measure.Names(o.steps()); len(names) != 1 || names[0] != "scale" {
		t.Errorf("the set scale has the steps %v", names)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"-set", "sleep"},
		{"-store", "etcd"},
		{"-idle-tenants", "30,10"},
		{"-idle-tenants", "none"},
		{"-runs", "0"},
		{"-rate", "0"},
		{"stray"},
		{"-unknown"},
	} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

// What one run has measured is there in the next, in the table, in the document and in the file.
func TestFiguresAreKept(t *testing.T) {
	folder := t.TempDir()
	document := filepath.Join(folder, "benchmarks.md")
	if err := os.WriteFile(document, []byte("# Title\n<!-- bench: begin -->\n<!-- bench: end -->\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := &options{json: filepath.Join(folder, "new", "bench.json"), write: document}
	first, err := o.earlier()
	if err != nil {
		t.Fatal(err)
	}
	first.Add(report.Figure{Row: report.ServiceCall, Summary: report.Summarise([]float64{12.5}), Store: "tenant sqlite"})
	var out bytes.Buffer
	if err := o.publish(first, &out); err != nil {
		t.Fatal(err)
	}
	second, err := o.earlier()
	if err != nil {
		t.Fatal(err)
	}
	if !second.Has(report.ServiceCall) {
		t.Error("the figure is not in the next run")
	}
	written, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"table": out.String(), "document": string(written)} {
		if !strings.Contains(text, "12.5") || !strings.Contains(text, "tenant sqlite") {
			t.Errorf("the figure is not in the %s:\n%s", what, text)
		}
	}
	if !strings.HasPrefix(string(written), "# Title\n") {
		t.Errorf("the document lost its beginning:\n%s", written)
	}
}

func TestDocumentWithoutMarks(t *testing.T) {
	document := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := os.WriteFile(document, []byte("# Title\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := &options{write: document}
	if err := o.document(report.New("a machine")); err == nil {
		t.Error("a document without marks was written")
	}
}
