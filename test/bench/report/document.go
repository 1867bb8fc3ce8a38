package report

import (
	"errors"
	"fmt"
	"strings"
)

// The marks between which a document holds the report.
const (
	beginMark = "<!-- bench: begin -->"
	endMark   = "<!-- bench: end -->"
)

// ReplaceIn puts the report between the marks of a document.
func (r *Report) ReplaceIn(document string) (string, error) {
	before, rest, hasBegin := strings.Cut(document, beginMark)
	_, after, hasEnd := strings.Cut(rest, endMark)
	if !hasBegin || !hasEnd {
		return "", errors.New("the document has no place for the report: put the lines " + beginMark + " and " + endMark + " into it")
	}
	var text strings.Builder
	fmt.Fprintf(&text, "Machine: %s.\n\n", r.Machine)
	if when := r.when(); when != "" {
		fmt.Fprintf(&text, "Taken: %s.\n\n", when)
	}
	if err := r.WriteTable(&text); err != nil {
		return "", err
	}
	return before + beginMark + "\n\n" + text.String() + "\n" + endMark + after, nil
}

// when tells from which day to which, and of which commits, the figures are.
func (r *Report) when() string {
	var first, last string
	var commits []string
	seen := map[string]bool{}
	for _, row := range Rows() {
		figure := r.Figure(row.ID)
		if figure == nil {
			continue
		}
		day := figure.Taken.UTC().Format("2006-01-02")
		if first == "" || day < first {
			first = day
		}
		last = max(last, day)
		if figure.Commit != "" && !seen[figure.Commit] {
			seen[figure.Commit] = true
			commits = append(commits, figure.Commit)
		}
	}
	text := first
	if last != first {
		text += " to " + last
	}
	if len(commits) > 0 {
		text += ", commit " + strings.Join(commits, ", ")
	}
	return text
}
