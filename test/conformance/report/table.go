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

// The profiles are the columns: the embedded host itself, for comparison, and the settings of virtual clusters.
const (
	hostProfile        = "host"
	defaultProfile     = "default"
	conformanceProfile = "conformance"
)

var profiles = []string{hostProfile, defaultProfile, conformanceProfile}

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
	var columns []string
	for line := range strings.Lines(inside) {
		cells := cellsOf(line)
		if cells[0] == "test" {
			columns = cells[1:]
		}
		if len(cells) != len(columns)+1 || !isTest(cells[0]) {
			continue
		}
		kept[cells[0]] = map[string]string{}
		for i, profile := range columns {
			kept[cells[0]][profile] = cells[i+1]
		}
	}
	return kept, nil
}

// reasons are the rows of the other tables that begin with a test: why it fails on purpose.
func reasons(document string) map[string]string {
	before, rest, _ := strings.Cut(document, begin)
	_, after, _ := strings.Cut(rest, end)
	found := map[string]string{}
	for line := range strings.Lines(before + after) {
		if cells := cellsOf(line); len(cells) == 2 && isTest(cells[0]) {
			found[cells[0]] = cells[1]
		}
	}
	return found
}

func cellsOf(line string) []string {
	cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
	for index := range cells {
		cells[index] = strings.TrimSpace(cells[index])
	}
	return cells
}

func isTest(cell string) bool { return strings.HasPrefix(cell, "[sig-") }

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
