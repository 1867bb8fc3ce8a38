package progress

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// clock advances by 1.5 s whenever it is read.
func clock() func() time.Time {
	now := time.Unix(0, 0)
	return func() time.Time {
		now = now.Add(1500 * time.Millisecond)
		return now
	}
}

func TestPhasesWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	reporter := New(&out)
	reporter.now = clock()
	broken := errors.New("broken")

	if err := reporter.Phase(t.Context(), "start the host", func(_ context.Context, detail func(string)) error {
		detail("node NotReady")
		detail("node NotReady")
		detail("node Ready")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := reporter.Phase(t.Context(), "install", func(context.Context, func(string)) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v, want the phase's own", err)
	}
	reporter.Note("done in %d phases", 2)

	want := "  start the host: node NotReady\n" +
		"  start the host: node Ready\n" +
		"✔ start the host" + strings.Repeat(" ", 31) + "   1.5 s\n" +
		"✗ install" + strings.Repeat(" ", 38) + "   1.5 s\n" +
		"done in 2 phases\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

func TestSpinnerLeavesOneLine(t *testing.T) {
	var out bytes.Buffer
	reporter := New(&out)
	reporter.terminal, reporter.width = true, func() int { return 10 }
	if err := reporter.Phase(t.Context(), "start", func(_ context.Context, detail func(string)) error {
		detail("waiting")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for frame := range strings.SplitSeq(strings.SplitN(text, clearLine+"✔", 2)[0], clearLine) {
		if columns := utf8.RuneCountInString(frame); columns >= 10 {
			t.Errorf("frame %q has %d columns, the terminal has 10", frame, columns)
		}
	}
	if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, clearLine) || !strings.Contains(text, clearLine+"✔ start") {
		t.Errorf("output %q, want drawn frames, then one line that stays", text)
	}
}
