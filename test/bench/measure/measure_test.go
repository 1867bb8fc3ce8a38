package measure

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matryoshka-dev/matryoshka/test/bench/machine"
	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

func TestChoose(t *testing.T) {
	chosen, err := Choose(Steps(), []string{"pods", "idle"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"idle", "pods"}, Names(chosen)); diff != "" {
		t.Errorf("they are to run in their own order:\n%s", diff)
	}
	if all, err := Choose(Steps(), nil); err != nil || len(all) != len(Steps()) {
		t.Errorf("without names %d steps were chosen, %v", len(all), err)
	}
	if _, err := Choose(Steps(), []string{"sleep"}); err == nil {
		t.Error("a step that does not exist was chosen")
	}
}

// Every row that can be measured is measured by one step, and no step measures a row that is not there.
func TestStepsCoverTheRows(t *testing.T) {
	var measured []string
	for _, step := range slices.Concat(Steps(), Density(), Many(), Accounts()) {
		measured = append(measured, step.Rows...)
	}
	var wanted []string
	for _, row := range report.Rows() {
		if !row.IsNotBuilt {
			wanted = append(wanted, row.ID)
		}
	}
	slices.Sort(measured)
	slices.Sort(wanted)
	if diff := cmp.Diff(wanted, measured); diff != "" {
		t.Error(diff)
	}
}

func newBench() *Bench {
	return &Bench{Report: report.New("a machine"), Log: func(string, ...any) {}}
}

func judge(t *testing.T, b *Bench, id string) report.Verdict {
	t.Helper()
	for _, row := range report.Rows() {
		if row.ID == id {
			return row.Judge(b.Report.Figure(id))
		}
	}
	t.Fatalf("there is no row %q", id)
	return ""
}

// A step that fails half-way keeps what it has taken, tells of the rest, and does not keep the next one from running.
func TestRunGoesOnAfterAFailure(t *testing.T) {
	failure := errors.New("the host is gone")
	b := newBench()
	err := b.Run(t.Context(), []Step{
		{Name: "first", Rows: []string{report.CreateUsable, report.DeleteAll}, limit: time.Minute, take: func(_ context.Context, b *Bench) error {
			b.record(report.Figure{Row: report.CreateUsable, Summary: report.Summarise([]float64{1})})
			return failure
		}},
		{Name: "second", Rows: []string{report.ServiceCall}, limit: time.Minute, take: func(_ context.Context, b *Bench) error {
			b.record(report.Figure{Row: report.ServiceCall, Summary: report.Summarise([]float64{30})})
			return nil
		}},
	})
	if !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	for id, want := range map[string]report.Verdict{
		report.CreateUsable: report.Met, report.DeleteAll: report.Failed, report.ServiceCall: report.Missed, report.ConfigMapLag: report.NotMeasured,
	} {
		if got := judge(t, b, id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	if b.Report.Figure(report.CreateUsable).Load == "" {
		t.Error("a figure does not tell the load of the machine")
	}
}

func TestStepEndsWithItsTime(t *testing.T) {
	b := newBench()
	err := b.Run(t.Context(), []Step{{Name: "slow", Rows: []string{report.DeleteAll}, limit: 10 * time.Millisecond, take: func(ctx context.Context, _ *Bench) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}}})
	if err == nil || judge(t, b, report.DeleteAll) != report.Failed {
		t.Errorf("got %v", err)
	}
}

func TestPerTenant(t *testing.T) {
	stages := []idleStage{
		{tenants: 0, agent: machine.Use{Private: 30}}, {tenants: 10, agent: machine.Use{Private: 50}}, {tenants: 30, agent: machine.Use{Private: 120}},
	}
	private := func(s idleStage) float64 { return s.agent.Private }
	if got := perTenant(stages, private); got != 3 {
		t.Errorf("90 MiB more with 30 tenants are %v for each", got)
	}
	if got, want := eachStage(stages, private), "30.0, 50.0, 120.0 at 0, 10, 30 tenants"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRecordIdleAddsTheAgentsShare(t *testing.T) {
	b := newBench()
	b.recordIdle([]idleStage{
		{tenants: 0, agent: machine.Use{Millicores: 5}},
		{tenants: 2, agent: machine.Use{Millicores: 9}, millicores: []float64{7, 8}, private: []float64{1, 1}, podPrivate: []float64{1, 1}},
	})
	for _, figure := range b.taken {
		if figure.Row == report.IdleCPU && (figure.Min != 9 || figure.Max != 10) {
			t.Errorf("control planes with 7 and 8 millicores and an agent's share of 2 gave %+v", figure.Summary)
		}
	}
	if len(b.taken) != len(idleRows) {
		t.Errorf("%d figures for %d rows", len(b.taken), len(idleRows))
	}
}

func TestEvenly(t *testing.T) {
	sum := 0
	for index := range 3 {
		sum += evenly(10, 3, index)
	}
	if sum != 10 || evenly(10, 3, 0) != 4 || evenly(10, 3, 2) != 3 {
		t.Errorf("10 pods in 3 tenants: %d, %d, %d", evenly(10, 3, 0), evenly(10, 3, 1), evenly(10, 3, 2))
	}
}

func TestPacedKeepsTheRate(t *testing.T) {
	var numbers []int
	begin := time.Now()
	if err := paced(t.Context(), 5, 100, func(number int) { numbers = append(numbers, number) }); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 40*time.Millisecond {
		t.Errorf("5 calls at 100 a second took %s", took)
	}
	if diff := cmp.Diff([]int{0, 1, 2, 3, 4}, numbers); diff != "" {
		t.Error(diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := paced(ctx, 5, 0.01, func(int) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
