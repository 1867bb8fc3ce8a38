package repotest

import (
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest   = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)(?:/[a-z_]+)?`")
	attackTests = regexp.MustCompile(`(?m)^func (TestAttack\w+)\(`)
)

// The pages of threats and of testing name tests that exist, and every attack has its line there.
func TestDocumentsNameTheirTests(t *testing.T) {
	threats := read(t, "docs/design/threats.md")
	var tests strings.Builder
	for _, file := range files(t, "_test.go") {
		tests.WriteString(read(t, file))
	}
	for _, page := range []string{"docs/design/threats.md", "docs/develop/testing.md"} {
		named := namedTest.FindAllStringSubmatch(read(t, page), -1)
		if len(named) == 0 {
			t.Errorf("%s names no test", page)
		}
		for _, match := range named {
			if !strings.Contains(tests.String(), "\nfunc "+match[1]+"(") {
				t.Errorf("%s names %s, which does not exist", page, match[1])
			}
		}
	}
	for _, match := range attackTests.FindAllStringSubmatch(tests.String(), -1) {
		if !strings.Contains(threats, "`"+match[1]) {
			t.Errorf("%s has no line in docs/design/threats.md", match[1])
		}
	}
}
