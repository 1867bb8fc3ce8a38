package report

import (
	"fmt"
	"io"
	"strings"
)

const head = `| what | unit | n | median | p90 | p99 | min – max | budget | verdict | how |
|---|---|---|---|---|---|---|---|---|---|
`

// WriteTable writes the table in Markdown, which people read as it is, too.
func (r *Report) WriteTable(out io.Writer) error {
	var text strings.Builder
	text.WriteString(head)
	for _, row := range Rows() {
		text.WriteString(r.line(row))
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func (r *Report) line(row Row) string {
	figure := r.Figure(row.ID)
	verdict := row.Judge(figure)
	cells := []string{row.What, row.Unit}
	if verdict == Met || verdict == Missed || verdict == NoBudget {
		cells = append(cells, fmt.Sprint(figure.N), number(figure.Median), number(figure.P90), number(figure.P99), figure.spread())
	} else {
		cells = append(cells, "", "", "", "", "")
	}
	cells = append(cells, row.budget(), string(verdict), figure.how())
	for i := range cells {
		cells[i] = strings.ReplaceAll(strings.ReplaceAll(cells[i], "|", `\|`), "\n", " ")
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

func (r Row) budget() string {
	texts := make([]string, 0, len(r.Budget))
	for _, bound := range r.Budget {
		sign := "≤"
		if bound.AtLeast {
			sign = "≥"
		}
		text := sign + " " + fmt.Sprint(bound.Value)
		// Most budgets are about the median, which is not said again and again.
		if bound.Of != Median {
			text = string(bound.Of) + " " + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

// how tells the conditions under which a figure was taken, or why there is none.
func (f *Figure) how() string {
	if f == nil {
		return ""
	}
	var parts []string
	for _, part := range []string{f.Problem, f.Store, f.Tokens, f.Load, f.Note} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "; ")
}

func (s Summary) spread() string {
	if !s.hasSpread() {
		return ""
	}
	return number(s.Min) + " – " + number(s.Max)
}

// number has about three digits that count.
func number(value float64) string {
	switch size := max(value, -value); {
	case size >= 100:
		return fmt.Sprintf("%.0f", value)
	case size >= 10:
		return fmt.Sprintf("%.1f", value)
	default:
		return fmt.Sprintf("%.2f", value)
	}
}
