// Package report holds measured figures against the budgets of the product, as a table for people and as JSON for programs.
//
// It measures nothing and knows no cluster. Its invariants: every budget has a row in every report, measured or not; a figure
// without the values behind it does not exist; figures of two machines never stand in one report.
package report

import (
	"math"
	"slices"
)

// Summary is what is told of measured values, all in one unit.
type Summary struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	P90    float64 `json:"p90"`
	P99    float64 `json:"p99"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Summarise takes values in any order and leaves them as they are. Without values it is the zero Summary.
func Summarise(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return Summary{
		N:      len(sorted),
		Median: quantile(sorted, 0.5),
		P90:    quantile(sorted, 0.9),
		P99:    quantile(sorted, 0.99),
		Min:    sorted[0],
		Max:    sorted[len(sorted)-1],
	}
}

// quantile is the nearest rank: a value that was measured, never one in between. Of few values a high quantile is the largest.
func quantile(sorted []float64, q float64) float64 {
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Ratio divides two summaries statistic by statistic. What cannot be divided is 0. It has no spread: the smallest of the one has
// nothing to do with the smallest of the other.
func Ratio(of, by Summary) Summary {
	divide := func(a, b float64) float64 {
		if b == 0 {
			return 0
		}
		return a / b
	}
	return Summary{
		N:      min(of.N, by.N),
		Median: divide(of.Median, by.Median),
		P90:    divide(of.P90, by.P90),
		P99:    divide(of.P99, by.P99),
	}
}

// hasSpread is false for what was divided.
func (s Summary) hasSpread() bool { return s.Max >= s.Median }
