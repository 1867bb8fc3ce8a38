package repotest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	fenced  = regexp.MustCompile("(?ms)^```([a-z]*)[^\n]*\n(.*?)\n?```$")
)

// Links between the documents lead somewhere, down to the heading.
func TestDocumentLinks(t *testing.T) {
	for _, document := range files(t, ".md") {
		text := fenced.ReplaceAllString(read(t, document), "")
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			checkLink(t, document, match[1])
		}
	}
}

func checkLink(t *testing.T, document, target string) {
	t.Helper()
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return
	}
	file, anchor, _ := strings.Cut(target, "#")
	name := document
	if file != "" {
		name = filepath.Join(filepath.Dir(document), file)
	}
	if _, err := os.Stat(path(name)); err != nil {
		t.Errorf("%s links to %s, which is not there", document, target)
		return
	}
	if anchor == "" || !strings.HasSuffix(name, ".md") {
		return
	}
	for _, match := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, name), ""), -1) {
		if anchorOf(match[1]) == anchor {
			return
		}
	}
	t.Errorf("%s links to %s, but %s has no such heading", document, target, name)
}

// anchorOf makes the anchor of a heading as GitHub does.
func anchorOf(title string) string {
	var anchor strings.Builder
	for _, r := range strings.ToLower(title) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			anchor.WriteRune(r)
		case r == ' ':
			anchor.WriteRune('-')
		}
	}
	return anchor.String()
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
