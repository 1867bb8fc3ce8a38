// Package progress tells a person how a long command goes: one line for each phase with its time, and a spinner while
// it lasts if somebody watches at a terminal.
//
// It writes to one writer, standard error by convention, and never to the result. Its invariant: without a terminal
// every line that is written stays, in order, so that a log of CI reads well.
package progress

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	frameTime = 120 * time.Millisecond
	clearLine = "\r\x1b[K"
)

var frames = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// Reporter prints phases. Use New.
type Reporter struct {
	out      io.Writer
	terminal bool
	// width of the terminal in columns; 0 when it is not known.
	width func() int
	now   func() time.Time
}

// New reports to out. A spinner turns only when out is a terminal and this is not a CI run.
func New(out io.Writer) *Reporter {
	file, isFile := out.(*os.File)
	isTerminal := isFile && term.IsTerminal(int(file.Fd())) && os.Getenv("CI") == "" && os.Getenv("TERM") != "dumb"
	width := func() int {
		columns, _, err := term.GetSize(int(file.Fd()))
		if err != nil {
			return 0
		}
		return columns
	}
	return &Reporter{out: out, terminal: isTerminal, width: width, now: time.Now}
}

// Note prints a line that belongs to no phase.
func (r *Reporter) Note(format string, args ...any) {
	fmt.Fprintf(r.out, format+"\n", args...)
}

// Phase runs do and prints name with the time it took. Do may call detail to say what it waits for.
func (r *Reporter) Phase(ctx context.Context, name string, do func(ctx context.Context, detail func(string)) error) error {
	line := &line{reporter: r, name: name, started: r.now()}
	stop := line.spin()
	err := do(ctx, line.detail)
	stop()
	line.finish(err)
	return err
}

// line is the one line of a running phase. The spinner's goroutine and detail both write it.
type line struct {
	reporter *Reporter
	name     string
	started  time.Time

	mutex sync.Mutex
	last  string
	frame int
}

// spin turns the spinner until the returned function is called, which waits for it.
func (l *line) spin() func() {
	if !l.reporter.terminal {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(frameTime)
		defer ticker.Stop()
		for {
			l.draw()
			select {
			case <-end:
				return
			case <-ticker.C:
			}
		}
	}()
	return func() { close(end); <-ended }
}

func (l *line) draw() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	text := fmt.Sprintf("%s %s", frames[l.frame%len(frames)], l.name)
	if l.last != "" {
		text += ": " + l.last
	}
	l.frame++
	fmt.Fprint(l.reporter.out, clearLine+cut(text, l.reporter.width()))
}

// cut makes text fit into one line of the terminal: the rest of a longer one could not be cleared any more.
func cut(text string, width int) string {
	runes := []rune(text)
	if width < 2 || len(runes) < width {
		return text
	}
	return string(runes[:width-2]) + "…"
}

// detail says what the phase waits for. Without a terminal each new detail is a line of its own.
func (l *line) detail(text string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if text == l.last {
		return
	}
	l.last = text
	if !l.reporter.terminal && text != "" {
		fmt.Fprintf(l.reporter.out, "  %s: %s\n", l.name, text)
	}
}

func (l *line) finish(err error) {
	mark := "✔"
	if err != nil {
		mark = "✗"
	}
	if l.reporter.terminal {
		fmt.Fprint(l.reporter.out, clearLine)
	}
	took := l.reporter.now().Sub(l.started)
	fmt.Fprintf(l.reporter.out, "%s %-44s %6.1f s\n", mark, l.name, took.Seconds())
}
