package parameter

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// plain are texts that are one plain scalar wherever a chart prints them into its YAML.
var plain = regexp.MustCompile(`\A([A-Za-z0-9][A-Za-z0-9_./@+=-]*)?\z`)

// Neutral returns values in which each text that could mean something in YAML has a placeholder in its place, and what the
// placeholders stand for. What a chart makes of them shows what it would make of any value; where it makes something else of the
// real ones, they have broken out of their place. Values that the template itself lists as options are left as they are.
func (v Values) Neutral() (neutral Values, placeholders map[string]string) {
	neutral, placeholders = maps.Clone(v), map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(v)) {
		value := v[name]
		if _, isText := value.typed.(string); !isText || value.listed || plain.MatchString(value.text) {
			continue
		}
		placeholder := fmt.Sprintf("placeholder%dx", i)
		placeholders[placeholder] = value.text
		value.text, value.typed = placeholder, placeholder
		neutral[name] = value
	}
	return neutral, placeholders
}
