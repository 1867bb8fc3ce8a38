package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
)

// Report is all figures of one machine.
type Report struct {
	// Machine describes it, without names.
	Machine string
	figures map[string]Figure
}

// New makes a report without figures.
func New(machine string) *Report { return &Report{Machine: machine, figures: map[string]Figure{}} }

// Add puts a figure into its row, in place of an earlier one.
func (r *Report) Add(figure Figure) { r.figures[figure.Row] = figure }

// Has tells whether a row has a figure.
func (r *Report) Has(row string) bool {
	_, ok := r.figures[row]
	return ok
}

// Merge takes the figures of other for the rows that have none. Those of another machine are left: they cannot be compared.
func (r *Report) Merge(other *Report) {
	if other.Machine != r.Machine {
		return
	}
	mine := r.figures
	r.figures = maps.Clone(other.figures)
	maps.Copy(r.figures, mine)
}

// Figure of a row; nil when there is none.
func (r *Report) Figure(row string) *Figure {
	if figure, ok := r.figures[row]; ok {
		return &figure
	}
	return nil
}

// encodedRow is a Row with what was measured, for programs.
type encodedRow struct {
	Row
	Verdict Verdict `json:"verdict"`
	Figure  *Figure `json:"figure,omitempty"`
}

type encoded struct {
	Machine string       `json:"machine"`
	Rows    []encodedRow `json:"rows"`
}

// WriteJSON writes every row, also those without a figure.
func (r *Report) WriteJSON(out io.Writer) error {
	document := encoded{Machine: r.Machine}
	for _, row := range Rows() {
		figure := r.Figure(row.ID)
		document.Rows = append(document.Rows, encodedRow{Row: row, Verdict: row.Judge(figure), Figure: figure})
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}

// ReadJSON reads what WriteJSON has written. Figures of rows that are no more are left out.
func ReadJSON(in io.Reader) (*Report, error) {
	var document encoded
	if err := json.NewDecoder(in).Decode(&document); err != nil {
		return nil, fmt.Errorf("decode a report: %w", err)
	}
	known := map[string]bool{}
	for _, row := range Rows() {
		known[row.ID] = true
	}
	r := New(document.Machine)
	for _, row := range document.Rows {
		if row.Figure != nil && known[row.Figure.Row] {
			r.Add(*row.Figure)
		}
	}
	return r, nil
}
