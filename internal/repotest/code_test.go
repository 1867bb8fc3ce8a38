package repotest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// maxLines is where a file certainly has a second idea in it. A test file has one case after the other, and may be longer.
const (
	maxLines     = 400
	maxTestLines = 600
)

var generatedMark = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// Every package says what it is for.
func TestPackagesHaveDocComments(t *testing.T) {
	documented := map[string]bool{}
	for _, name := range files(t, ".go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		folder := filepath.Dir(name)
		documented[folder] = documented[folder] || hasPackageComment(t, name)
	}
	for folder, is := range documented {
		if !is {
			t.Errorf("no file of %s has a package comment", folder)
		}
	}
}

func hasPackageComment(t *testing.T, name string) bool {
	t.Helper()
	file := parse(t, name, parser.PackageClauseOnly|parser.ParseComments)
	text := file.Doc.Text()
	return strings.HasPrefix(text, "Package "+file.Name.Name) || strings.HasPrefix(text, "Command ")
}

func parse(t *testing.T, name string, mode parser.Mode) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path(name), nil, mode)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// A package is named by what it provides.
func TestPackageNames(t *testing.T) {
	empty := map[string]bool{"util": true, "utils": true, "common": true, "helpers": true, "types": true, "misc": true, "shared": true}
	for _, name := range files(t, ".go") {
		if got := parse(t, name, parser.PackageClauseOnly).Name.Name; empty[strings.TrimSuffix(got, "_test")] {
			t.Errorf("%s: package %s says nothing about what it provides", name, got)
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, name := range files(t, ".go") {
		text, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		if generatedMark.Match(text) {
			continue
		}
		most := maxLines
		if strings.HasSuffix(name, "_test.go") {
			most = maxTestLines
		}
		if lines := bytes.Count(text, []byte("\n")); lines > most {
			t.Errorf("%s has %d lines, more than %d: look for the second idea in it", name, lines, most)
		}
	}
}

// The marks are put together here so that this file has none of them.
var unfinished = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "X" + "XX"}, "|") + `)\b`)

// What is not finished is left out, not marked.
func TestNoUnfinishedMarks(t *testing.T) {
	for _, suffix := range []string{".go", ".sh", ".md", "Makefile"} {
		for _, name := range files(t, suffix) {
			text, err := os.ReadFile(path(name))
			if err != nil {
				t.Fatal(err)
			}
			if mark := unfinished.Find(text); mark != nil {
				t.Errorf("%s contains %s", name, mark)
			}
		}
	}
}

func TestLicence(t *testing.T) {
	text, err := os.ReadFile(path("LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Apache License", "Version 2.0, January 2004", "END OF TERMS AND CONDITIONS"} {
		if !bytes.Contains(text, []byte(line)) {
			t.Errorf("LICENSE does not contain %q", line)
		}
	}
}
