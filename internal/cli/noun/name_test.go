package noun

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

var kind = &Kind[*corev1.ConfigMap]{Title: "account"}

func TestValidateName(t *testing.T) {
	for _, good := range []string{"a", "hello", "team-1", strings.Repeat("x", 50)} {
		if err := kind.ValidateName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, says := range map[string]string{
		"":                      "DNS label",
		"Bad_Name":              `"bad-name"`,
		"-a":                    `"a"`,
		"___":                   `"hello"`,
		"a.b":                   `"a-b"`,
		strings.Repeat("x", 51): "at most 50",
	} {
		err := kind.ValidateName(bad)
		if exit.CodeOf(err) != exit.Usage || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: error %v, want a usage error with %s", bad, err, says)
		}
	}
}

func FuzzSuggestedNameIsValid(f *testing.F) {
	for _, seed := range []string{"Hello World", "-", "ä", "a--b", "9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if suggested := suggestName(name); len(suggested) <= longestLabel && kind.ValidateName(suggested) != nil {
			t.Errorf("suggested %q for %q: %v", suggested, name, kind.ValidateName(suggested))
		}
	})
}
