package chart

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// compare tells whether what was rendered with real values is what was rendered with placeholders, with the values in their
// places, and where it is not. Texts in which no placeholder is left may differ: the chart has made something else of the value,
// such as a checksum, and it is one text still.
func compare(expected, actual any, placeholders map[string]string) (where string, same bool) {
	switch expected := expected.(type) {
	case map[string]any:
		return compareMaps(expected, actual, placeholders)
	case []any:
		actual, ok := actual.([]any)
		if !ok || len(actual) != len(expected) {
			return "", false
		}
		for i := range expected {
			if where, same := compare(expected[i], actual[i], placeholders); !same {
				return fmt.Sprintf("[%d]%s", i, where), false
			}
		}
		return "", true
	case string:
		return "", compareTexts(expected, actual, placeholders)
	}
	switch actual.(type) {
	case map[string]any, []any:
		return "", false
	}
	return "", true
}

func compareMaps(expected map[string]any, actual any, placeholders map[string]string) (where string, same bool) {
	present, ok := actual.(map[string]any)
	if !ok || len(present) != len(expected) {
		return "", false
	}
	for _, key := range slices.Sorted(maps.Keys(expected)) {
		// A chart may make a key of a value, such as the name of a file.
		actual, ok := present[fill(key, placeholders)]
		if !ok {
			return "." + key, false
		}
		if where, same := compare(expected[key], actual, placeholders); !same {
			return "." + key + where, false
		}
	}
	return "", true
}

func compareTexts(expected string, actual any, placeholders map[string]string) bool {
	filled := fill(expected, placeholders)
	switch actual := actual.(type) {
	case map[string]any, []any:
		return false
	case string:
		// Block scalars keep one line break at the end, or none.
		return filled == expected || strings.TrimRight(filled, "\n") == strings.TrimRight(actual, "\n")
	case nil:
		return filled == expected || strings.TrimSpace(filled) == "" || filled == "null" || filled == "~"
	}
	// A number or a boolean, which the value is when the chart does not quote it.
	return true
}

func fill(text string, placeholders map[string]string) string {
	for placeholder, value := range placeholders {
		text = strings.ReplaceAll(text, placeholder, value)
	}
	return text
}
