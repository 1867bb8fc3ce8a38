package noun

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// longestLabel is what most schemas of the product allow.
const longestLabel = 50

// ValidateName says what is wrong with a name. The API server checks the same rule; here it costs no round trip and the
// message names the argument.
func (k *Kind[T]) ValidateName(name string) error {
	longest := k.MaxName
	if longest == 0 {
		longest = longestLabel
	}
	if len(name) > longest {
		return exit.Usagef("name %q has %d characters; the name of %s may have at most %d", name, len(name), withArticle(k.Title), longest)
	}
	if k.WithDots && len(validation.IsDNS1123Subdomain(name)) == 0 {
		return nil
	}
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return exit.Usagef("name %q is not a DNS label: use lower-case letters, digits and '-', beginning and ending with a letter or digit, such as %q",
			name, suggestName(name))
	}
	return nil
}

// suggestName makes a valid name that resembles the given one.
func suggestName(name string) string {
	near := strings.Map(func(r rune) rune {
		if (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	if near = strings.Trim(near, "-"); near == "" {
		return "hello"
	}
	return near
}

// withArticle puts the right article in front of what something is called.
func withArticle(title string) string {
	if strings.ContainsRune("aeiou", rune(title[0])) {
		return "an " + title
	}
	return "a " + title
}
