package agent

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// PromQL's own parser would bring all of Prometheus as a dependency. What is needed here is less: which metrics and which
// labels a query names.

var (
	duration = regexp.MustCompile(`^[0-9]+(s|m|h|d)$`)
	// token is one of: text in quotes, a range, a number, a name, an operator or bracket.
	token     = regexp.MustCompile(`^(?:"[^"]*"|\[[^\]]*\]|[0-9]+(?:\.[0-9]+)?|[a-zA-Z_:][a-zA-Z0-9_:]*|=~|!~|!=|==|>=|<=|[-+*/<>=(){},])`)
	name      = regexp.MustCompile(`^[a-zA-Z_:]`)
	functions = []string{"absent", "deriv", "histogram_quantile", "increase", "max", "max_over_time", "min", "rate", "sum"}
	operators = []string{"and", "or", "unless"}
	groupings = []string{"by", "without", "on", "ignoring"}
	// added are the labels that histograms and the scraping bring.
	added = []string{"le", "job", "instance", "namespace", "pod"}
)

func tokens(query string) ([]string, error) {
	var found []string
	for rest := strings.TrimSpace(query); rest != ""; rest = strings.TrimSpace(rest) {
		next := token.FindString(rest)
		if next == "" {
			return nil, fmt.Errorf("cannot read %q of %q", rest, query)
		}
		found, rest = append(found, next), rest[len(next):]
	}
	return found, nil
}

// query is what is known of a query while it is read.
type query struct {
	metrics, labels []string
	open            []string // brackets that are open, by what closes them
	isGrouping      bool     // in the brackets of by (...) and the like
}

// checkQuery tells what is wrong with a query: metrics or labels that are not registered, functions that are not known here,
// ranges that are none, and brackets that do not match.
func checkQuery(text string, registered map[string]metric) error {
	all, err := tokens(text)
	if err != nil {
		return err
	}
	var q query
	for index, one := range all {
		next := ""
		if index+1 < len(all) {
			next = all[index+1]
		}
		if err := q.read(one, next); err != nil {
			return fmt.Errorf("%w in %q", err, text)
		}
	}
	if len(q.open) > 0 || len(q.metrics) == 0 {
		return fmt.Errorf("%q names %d metrics and leaves %d brackets open", text, len(q.metrics), len(q.open))
	}
	return q.check(registered)
}

func (q *query) read(one, next string) error {
	switch {
	case one == "(" || one == "{":
		q.open = append(q.open, map[string]string{"(": ")", "{": "}"}[one])
	case one == ")" || one == "}":
		if len(q.open) == 0 || q.open[len(q.open)-1] != one {
			return fmt.Errorf("%q closes nothing", one)
		}
		q.open, q.isGrouping = q.open[:len(q.open)-1], false
	case strings.HasPrefix(one, "["):
		if inside := strings.Trim(one, "[]"); inside != "$__rate_interval" && !duration.MatchString(inside) {
			return fmt.Errorf("%s is no range", one)
		}
	case !name.MatchString(one) || slices.Contains(operators, one):
	case q.isGrouping || len(q.open) > 0 && q.open[len(q.open)-1] == "}":
		q.labels = append(q.labels, one)
	case slices.Contains(groupings, one):
		q.isGrouping = true
	case next == "(" || slices.Contains(functions, one) && slices.Contains(groupings, next):
		if !slices.Contains(functions, one) {
			return fmt.Errorf("%q is no known function", one)
		}
	default:
		q.metrics = append(q.metrics, one)
	}
	return nil
}

func (q *query) check(registered map[string]metric) error {
	labels := slices.Clone(added)
	for _, used := range q.metrics {
		if used == "up" { // of the scraping itself
			continue
		}
		one, ok := registered[used]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, isPart := strings.CutSuffix(used, suffix); isPart && registered[base].kind == "histogram" {
				one, ok = registered[base], true
			}
		}
		if !ok || one.kind == "histogram" && used == one.name {
			return fmt.Errorf("there is no metric %q", used)
		}
		labels = append(labels, one.labels...)
	}
	for _, label := range q.labels {
		if !slices.Contains(labels, label) {
			return fmt.Errorf("the metrics %q have no label %q", q.metrics, label)
		}
	}
	return nil
}

func TestCheckQueryFindsWhatIsWrong(t *testing.T) {
	registered := map[string]metric{
		"depth": {name: "depth", kind: "gauge"},
		"lag":   {name: "lag", kind: "histogram", labels: []string{"kind"}},
	}
	for query, want := range map[string]string{
		`depth`: "",
		`sum by (le, kind) (rate(lag_bucket{job="x", kind=~"a|b"}[5m])) > 0.5`: "",
		`sum(depth) by (instance) > 1 and depth < 2`:                           "",
		`absent(up{job="x"} == 1)`:                                             "",
		`rate(lag_sum[$__rate_interval]) / rate(lag_count[1h])`:                "",
		`deep`:                  `no metric "deep"`,
		`lag`:                   `no metric "lag"`, // a histogram is its parts
		`depth_bucket`:          `no metric "depth_bucket"`,
		`rates(depth[5m])`:      "no known function",
		`depth{kind="a"}`:       `no label "kind"`,
		`sum by (shop) (depth)`: `no label "shop"`,
		`rate(depth[soon])`:     "no range",
		`sum(depth`:             "brackets open",
		`sum(depth}`:            "closes nothing",
		`5 > 4`:                 "names 0 metrics",
		`depth ~ 5`:             "cannot read",
	} {
		err := checkQuery(query, registered)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", query, err, want)
		}
	}
}
