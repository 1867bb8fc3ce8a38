package repotest

import (
	"regexp"
	"strings"
	"testing"
)

var (
	threatTest  = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)(?:/[a-z_]+)?`")
	attackTests = regexp.MustCompile(`(?m)^func (TestAttack\w+)\(`)
)

// The page of threats names tests that exist, and every attack has its line there.
func TestThreatsNameTheirTests(t *testing.T) {
	threats := read(t, "docs/design/threats.md")
	var tests strings.Builder
	for _, file := range files(t, "_test.go") {
		tests.WriteString(read(t, file))
	}
	named := threatTest.FindAllStringSubmatch(threats, -1)
	if len(named) == 0 {
		t.Fatal("the page of threats names no test")
	}
	for _, match := range named {
		if !strings.Contains(tests.String(), "\nfunc "+match[1]+"(") {
			t.Errorf("the page of threats names %s, which does not exist", match[1])
		}
	}
	for _, match := range attackTests.FindAllStringSubmatch(tests.String(), -1) {
		if !strings.Contains(threats, "`"+match[1]) {
			t.Errorf("%s has no line in docs/design/threats.md", match[1])
		}
	}
}
