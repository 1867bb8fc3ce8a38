package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The table stands between these two lines; everything else in the document is left alone.
const (
	begin = "<!-- results: written by `make conformance` -->"
	end   = "<!-- end of results -->"
)

// profiles are the columns: the embedded host itself, for comparison, and the settings of virtual clusters.
var profiles = []string{"host", "default"}

// unknown stands for a test that has not run in a profile.
const unknown = "-"

// table holds the verdicts by test and profile.
type table map[string]map[string]string

func parse(document string) (table, error) {
	_, rest, hasBegin := strings.Cut(document, begin)
	inside, _, hasEnd := strings.Cut(rest, end)
	if !hasBegin || !hasEnd {
		return nil, errors.New("the lines around the table are missing: " + begin + " and " + end)
	}
	kept := table{}
	for line := range strings.Lines(inside) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != len(profiles)+1 || !strings.HasPrefix(cells[0], " [") {
			continue
		}
		verdicts := map[string]string{}
		for i, profile := range profiles {
			verdicts[profile] = strings.TrimSpace(cells[i+1])
		}
		kept[strings.TrimSpace(cells[0])] = verdicts
	}
	return kept, nil
}

func (t table) merge(profile string, results []result) error {
	if !slices.Contains(profiles, profile) {
		return fmt.Errorf("profile %q is none of %s", profile, strings.Join(profiles, ", "))
	}
	for _, r := range results {
		if t[r.test] == nil {
			t[r.test] = map[string]string{}
		}
		t[r.test][profile] = r.verdict
	}
	return nil
}

func (t table) replaceIn(document string) string {
	before, rest, _ := strings.Cut(document, begin)
	_, after, _ := strings.Cut(rest, end)
	return before + begin + "\n\n" + t.String() + "\n" + end + after
}

// String is the counts, and the table with its rows sorted by name.
func (t table) String() string {
	var text strings.Builder
	for _, profile := range profiles {
		passed, ran := t.count(profile)
		fmt.Fprintf(&text, "- `%s`: %d of %d passed\n", profile, passed, ran)
	}
	fmt.Fprintf(&text, "\n| test | %s |\n|---|%s\n", strings.Join(profiles, " | "), strings.Repeat("---|", len(profiles)))
	for _, test := range slices.Sorted(maps.Keys(t)) {
		text.WriteString("| " + test + " |")
		for _, profile := range profiles {
			text.WriteString(" " + t.verdict(test, profile) + " |")
		}
		text.WriteString("\n")
	}
	return text.String()
}

func (t table) count(profile string) (passed, ran int) {
	for test := range t {
		switch t.verdict(test, profile) {
		case unknown:
		case passedVerdict:
			passed++
			ran++
		default:
			ran++
		}
	}
	return passed, ran
}

func (t table) verdict(test, profile string) string {
	if verdict := t[test][profile]; verdict != "" {
		return verdict
	}
	return unknown
}
