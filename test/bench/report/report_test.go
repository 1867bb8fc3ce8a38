package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func oneTo(n int) []float64 {
	var values []float64
	for i := n; i >= 1; i-- {
		values = append(values, float64(i))
	}
	return values
}

func TestSummarise(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   Summary
	}{
		"Nothing":     {nil, Summary{}},
		"One":         {[]float64{7}, Summary{N: 1, Median: 7, P90: 7, P99: 7, Min: 7, Max: 7}},
		"Two":         {[]float64{9, 1}, Summary{N: 2, Median: 1, P90: 9, P99: 9, Min: 1, Max: 9}},
		"Ten":         {oneTo(10), Summary{N: 10, Median: 5, P90: 9, P99: 10, Min: 1, Max: 10}},
		"Hundred":     {oneTo(100), Summary{N: 100, Median: 50, P90: 90, P99: 99, Min: 1, Max: 100}},
		"Two hundred": {oneTo(200), Summary{N: 200, Median: 100, P90: 180, P99: 198, Min: 1, Max: 200}},
		"Negative":    {[]float64{-1, 0, 1}, Summary{N: 3, Median: 0, P90: 1, P99: 1, Min: -1, Max: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Summarise(c.values)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSummariseLeavesTheValues(t *testing.T) {
	values := []float64{3, 1, 2}
	Summarise(values)
	if diff := cmp.Diff([]float64{3, 1, 2}, values); diff != "" {
		t.Error(diff)
	}
}

func TestRatio(t *testing.T) {
	got := Ratio(Summary{N: 5, Median: 3, P90: 4, P99: 6, Max: 6}, Summary{N: 4, Median: 2, P90: 2, P99: 2, Max: 3})
	if diff := cmp.Diff(Summary{N: 4, Median: 1.5, P90: 2, P99: 3}, got); diff != "" {
		t.Error(diff)
	}
}

func TestJudge(t *testing.T) {
	upper := Row{Budget: []Bound{{Of: Median, Value: 10}, {Of: P99, Value: 20}}}
	lower := Row{Budget: []Bound{{Of: Median, Value: 60, AtLeast: true}}}
	for name, c := range map[string]struct {
		row    Row
		figure *Figure
		want   Verdict
	}{
		"At the bound":      {upper, &Figure{Summary: Summary{N: 1, Median: 10, P99: 20}}, Met},
		"Median above":      {upper, &Figure{Summary: Summary{N: 1, Median: 10.1, P99: 20}}, Missed},
		"P99 above":         {upper, &Figure{Summary: Summary{N: 1, Median: 1, P99: 20.1}}, Missed},
		"Enough":            {lower, &Figure{Summary: Summary{N: 1, Median: 60}}, Met},
		"Too few":           {lower, &Figure{Summary: Summary{N: 1, Median: 59}}, Missed},
		"No budget":         {Row{}, &Figure{Summary: Summary{N: 1, Median: 59}}, NoBudget},
		"Not measured":      {upper, nil, NotMeasured},
		"Failed":            {upper, &Figure{Problem: "the host has gone"}, Failed},
		"No values":         {upper, &Figure{}, Failed},
		"Not built at all":  {Row{IsNotBuilt: true, Budget: upper.Budget}, nil, NotBuilt},
		"Failed, no budget": {Row{}, &Figure{Problem: "the host has gone"}, Failed},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.row.Judge(c.figure); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRowsAreTold(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range Rows() {
		if row.ID == "" || row.What == "" || seen[row.ID] {
			t.Errorf("row %+v has no ID, no text, or the ID of another one", row)
		}
		seen[row.ID] = true
	}
}

func filled() *Report {
	r := New("2 cores")
	r.Add(Figure{
		Row: CreateUsable, Summary: Summary{N: 10, Median: 2.5, P90: 3.111, P99: 12.34, Min: 2, Max: 123.4},
		Store: "tenant sqlite, host sqlite", Load: "load 0.10", Note: "a|b",
		Taken: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Commit: "abc",
	})
	r.Add(Figure{Row: APIRow("GET"), Summary: Ratio(Summary{N: 5, Median: 3, P90: 3, P99: 3}, Summary{N: 5, Median: 2, P90: 2, P99: 2}), Taken: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)})
	r.Add(Figure{Row: DeleteAll, Problem: "no answer\nat all", Taken: time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC)})
	return r
}

func lineOf(t *testing.T, table, what string) string {
	t.Helper()
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "| "+what+" |") {
			return strings.TrimSuffix(line, "\n")
		}
	}
	t.Fatalf("the table has no line %q:\n%s", what, table)
	return ""
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := filled().WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`| create → API ready, default ServiceAccount and kubeconfig, dedicated | s | 10 | 2.50 | 3.11 | 12.3 | 2.00 – 123 | ≤ 4 | met | tenant sqlite, host sqlite; load 0.10; a\|b |`,
		`| delete → namespaces gone | s |  |  |  |  |  | ≤ 7 | failed | no answer at all |`,
		`| API latency in the tenant against the host: GET | x | 5 | 1.50 | 1.50 | 1.50 |  | ≤ 1.15 | missed |  |`,
		`| create → usable, packed | s |  |  |  |  |  | ≤ 1 | not built |  |`,
		`| awake idle virtual clusters, dedicated |  |  |  |  |  |  | ≥ 60 | not measured |  |`,
		`| tenant pod created → host pod seen, 5 pods/s, simulated node | ms |  |  |  |  |  | ≤ 10, p99 ≤ 20 | not measured |  |`,
	} {
		what := strings.TrimSpace(strings.Split(want, "|")[1])
		if diff := cmp.Diff(want, lineOf(t, out.String(), what)); diff != "" {
			t.Error(diff)
		}
	}
	if got, want := strings.Count(out.String(), "\n"), len(Rows())+2; got != want {
		t.Errorf("the table has %d lines, want %d: one for each row, and the head", got, want)
	}
}

func TestJSONComesBack(t *testing.T) {
	var out bytes.Buffer
	if err := filled().WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"verdict": "met"`, `"verdict": "failed"`, `"verdict": "not built"`, `"median": 2.5`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %s in\n%s", want, out.String())
		}
	}
	back, err := ReadJSON(&out)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(filled(), back, cmp.AllowUnexported(Report{})); diff != "" {
		t.Error(diff)
	}
}

func TestReadJSONRefusesWhatIsNone(t *testing.T) {
	if _, err := ReadJSON(strings.NewReader("| a table |")); err == nil {
		t.Error("a table was read as JSON")
	}
}

func TestMerge(t *testing.T) {
	r := New("2 cores")
	r.Add(Figure{Row: DeleteAll, Summary: Summary{N: 1, Median: 6}})
	r.Merge(filled())
	if !r.Has(CreateUsable) {
		t.Error("the earlier figure of a row that was not measured again is lost")
	}
	if got := r.Figure(DeleteAll); got.Problem != "" || got.Median != 6 {
		t.Errorf("the new figure was replaced by the earlier one: %+v", got)
	}
	other := New("64 cores")
	other.Merge(filled())
	if other.Has(CreateUsable) {
		t.Error("a figure of another machine was taken over")
	}
}

func TestReplaceIn(t *testing.T) {
	document := "before\n" + beginMark + "\nold\n" + endMark + "\nafter\n"
	got, err := filled().ReplaceIn(document)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got, "before\n"+beginMark+"\n\nMachine: 2 cores.\n\nTaken: 2026-03-04 to 2026-03-05, commit abc.\n\n| what |") ||
		!strings.HasSuffix(got, "|\n\n"+endMark+"\nafter\n") || strings.Contains(got, "old") {
		t.Errorf("got\n%s", got)
	}
	again, err := filled().ReplaceIn(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("a second time changes the document:\n%s", diff)
	}
	if _, err := filled().ReplaceIn("no marks"); err == nil {
		t.Error("a document without the marks was changed")
	}
}
