package report

import "time"

// Figure is what one row has been measured to be.
type Figure struct {
	// Row is the ID of the row.
	Row string `json:"row"`
	Summary
	// Store is that of the tenant and that of the host.
	Store string `json:"store,omitempty"`
	// Tokens says whether the pods mount tokens; empty where there are no pods.
	Tokens string `json:"tokens,omitempty"`
	// Load is what the machine had to do before and during the measurement.
	Load string `json:"load,omitempty"`
	// Note is what else belongs to the figure.
	Note string `json:"note,omitempty"`
	// Problem says why there are no values.
	Problem string `json:"problem,omitempty"`
	// Taken is when, and Commit of what.
	Taken  time.Time `json:"taken"`
	Commit string    `json:"commit,omitempty"`
}

// Statistic names a part of a Summary.
type Statistic string

// The statistics that a budget may be about.
const (
	Median Statistic = "median"
	P99    Statistic = "p99"
)

func (s Summary) of(which Statistic) float64 {
	if which == P99 {
		return s.P99
	}
	return s.Median
}

// Bound is one limit of a budget. It is an upper one unless AtLeast.
type Bound struct {
	Of      Statistic `json:"of"`
	Value   float64   `json:"value"`
	AtLeast bool      `json:"atLeast,omitempty"`
}

func (b Bound) isMetBy(summary Summary) bool {
	if b.AtLeast {
		return summary.of(b.Of) >= b.Value
	}
	return summary.of(b.Of) <= b.Value
}

// Verdict is how a figure stands to its budget.
type Verdict string

// The verdicts.
const (
	Met         Verdict = "met"
	Missed      Verdict = "missed"
	NoBudget    Verdict = "–"
	NotBuilt    Verdict = "not built"
	NotMeasured Verdict = "not measured"
	Failed      Verdict = "failed"
)

// Row is one line of the table.
type Row struct {
	ID   string `json:"id"`
	What string `json:"what"`
	Unit string `json:"unit"`
	// Budget is met when all of its bounds are. Empty: the figure is told because others need it to be understood.
	Budget []Bound `json:"budget,omitempty"`
	// IsNotBuilt says that the product cannot do yet what is to be measured.
	IsNotBuilt bool `json:"-"`
}

// Judge says how a row stands; figure is nil when there is none.
func (r Row) Judge(figure *Figure) Verdict {
	switch {
	case r.IsNotBuilt:
		return NotBuilt
	case figure == nil:
		return NotMeasured
	case figure.Problem != "" || figure.N == 0:
		return Failed
	case len(r.Budget) == 0:
		return NoBudget
	}
	for _, bound := range r.Budget {
		if !bound.isMetBy(figure.Summary) {
			return Missed
		}
	}
	return Met
}
