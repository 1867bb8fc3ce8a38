package engine

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/time/rate"
)

func newStream(from io.Reader, most int64) *stream {
	i := newIntake(most)
	i.bytes = rate.NewLimiter(rate.Inf, 0)
	return &stream{from: from, charge: &charge{intake: i}, weigher: weigher{element: typedElement}}
}

// TestValuesOfAWatchAreBounded: each value, by its length and by what it takes in memory, but not all of them together.
func TestValuesOfAWatchAreBounded(t *testing.T) {
	fits := `{"a":"}]{[\"","b":[{},[]]}` + "\n"
	many := strings.Repeat(fits, 3*maxValue/len(fits))
	large := `{"a":"` + strings.Repeat("x", maxValue/2) + `"}`
	const most = 100 << 20
	for name, tc := range map[string]struct {
		text string
		want error
	}{
		"Many":         {many, nil},
		"Large":        {large + large + large, nil},
		"TooLarge":     {`{"a":"` + strings.Repeat("x", maxValue) + `"}`, errValueTooLarge},
		"BracesInText": {`{"a":"` + strings.Repeat("}{", maxValue) + `"}`, errValueTooLarge},
		"QuotesInText": {`{"a":"` + strings.Repeat(`\"}`, maxValue) + `"}`, errValueTooLarge},
		"Number":       {strings.Repeat("1", maxValue+1), errValueTooLarge},
		"Nested":       {strings.Repeat("[", maxValue), errAnswerTooLarge},
		"Elements":     {"[" + strings.Repeat("{},", most/typedElement), errAnswerTooLarge},
		"Numbers":      {"[" + strings.Repeat("1,", most/typedElement), errAnswerTooLarge},
		"Fields":       {`{` + strings.Repeat(`"a":1,`, most/entryWeight), errAnswerTooLarge},
		"NotUTF8":      {`{"a":"` + strings.Repeat("\xff", maxValue-100), errAnswerTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			for way, reader := range map[string]io.Reader{"whole": strings.NewReader(tc.text), "halves": iotest.HalfReader(strings.NewReader(tc.text))} {
				s := newStream(reader, most)
				s.ctx = t.Context()
				if _, err := io.Copy(io.Discard, s); !errors.Is(err, tc.want) {
					t.Errorf("%s: %v, want %v", way, err, tc.want)
				}
				if s.end(); s.intake.under.Load() != 0 {
					t.Errorf("%s: %d bytes still count", way, s.intake.under.Load())
				}
			}
		})
	}
}

// TestValuesCountUntilTheyAreMetered: while a value is decoded, the one before it may still wait.
func TestValuesCountUntilTheyAreMetered(t *testing.T) {
	value := `{"a":1}`
	s := newStream(iotest.OneByteReader(strings.NewReader(strings.Repeat(value, 4))), 1<<20)
	s.ctx = t.Context()
	var w weigher
	one, buffers := w.weigh([]byte(value)), int64(streamBuffers*len(value))
	read := func(bytes int) {
		t.Helper()
		if _, err := io.ReadFull(s, make([]byte, bytes)); err != nil {
			t.Fatal(err)
		}
	}
	under := func(values int64, when string) {
		t.Helper()
		if got := s.intake.under.Load(); got != values*one+buffers {
			t.Errorf("%s %d bytes count, want %d values of %d and %d of buffers", when, got, values, one, buffers)
		}
	}
	read(len(value))
	under(1, "after the first value")
	read(len(value))
	under(2, "after the second")
	read(len(value))
	under(2, "after the third") // the first is metered
	read(len(value))
	under(2, "after the fourth")
}

func BenchmarkStream(b *testing.B) {
	event := `{"type":"ADDED","object":` + usualPodJSON(b) + "}\n"
	text := strings.Repeat(event, 100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s := newStream(strings.NewReader(text), 1<<40)
		s.ctx = b.Context()
		if _, err := io.Copy(io.Discard, s); err != nil {
			b.Fatal(err)
		}
	}
}
