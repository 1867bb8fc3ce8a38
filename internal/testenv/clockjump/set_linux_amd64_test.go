package clockjump

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// childVariable makes the test binary a process whose clock is moved.
const childVariable = "CLOCKJUMP_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		tellTime(os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

// tellTime answers each line with the wall clock, with the time since its start, and with whether its long timer has ended. A
// short one ends before each answer. Beside it a thread asks for the time without pause.
func tellTime(questions io.Reader, answers io.Writer) {
	go func() {
		for {
			_ = time.Now()
		}
	}()
	start, long := time.Now(), time.NewTimer(time.Hour)
	for scanner := bufio.NewScanner(questions); scanner.Scan(); {
		<-time.After(10 * time.Millisecond)
		hasEnded := false
		select {
		case <-long.C:
			hasEnded = true
		default:
		}
		now := time.Now()
		fmt.Fprintln(answers, now.UnixNano(), int64(now.Sub(start)), hasEnded)
	}
}

// child is a process that tells what its clocks show.
type child struct {
	pid       int
	questions io.Writer
	answers   io.Reader
}

// times are what the clocks of a child showed between two moments of ours.
type times struct {
	after, before time.Time
	wall          time.Time
	sinceStart    time.Duration
}

func startChild(t *testing.T) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=yes")
	cmd.Stderr = os.Stderr
	questions, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The end of the test's context has killed it.
	t.Cleanup(func() { _ = cmd.Wait() })
	started := &child{pid: cmd.Process.Pid, questions: questions, answers: bufio.NewReader(answers)}
	started.ask(t) // now it runs
	return started
}

func (c *child) ask(t *testing.T) times {
	t.Helper()
	var wall, sinceStart int64
	var hasEnded bool
	seen := times{after: time.Now()}
	if _, err := fmt.Fprintln(c.questions); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanln(c.answers, &wall, &sinceStart, &hasEnded); err != nil {
		t.Fatal(err)
	}
	seen.before, seen.wall, seen.sinceStart = time.Now(), time.Unix(0, wall), time.Duration(sinceStart)
	if hasEnded {
		t.Error("a timer of one hour has ended")
	}
	return seen
}

// The wall clock of the child jumps as it is told, that of this process never, and nobody's monotonic clock does.
func TestSet(t *testing.T) {
	c := startChild(t)
	first := c.ask(t)
	for _, ahead := range []time.Duration{0, 2 * time.Hour, -2 * time.Hour, 30 * 365 * 24 * time.Hour, -time.Second, 0} {
		if err := Set(c.pid, ahead); err != nil {
			t.Fatal(err)
		}
		seen := c.ask(t)
		if seen.wall.Before(seen.after.Add(ahead)) || seen.wall.After(seen.before.Add(ahead)) {
			t.Errorf("the child's clock shows %s, want %s ahead of %s to %s", seen.wall, ahead, seen.after, seen.before)
		}
		passed, least, most := seen.sinceStart-first.sinceStart, seen.after.Sub(first.before), seen.before.Sub(first.after)
		if passed < least || passed > most {
			t.Errorf("set %s ahead, the child waited %s, want between %s and %s", ahead, passed, least, most)
		}
		// The memory that was written is the child's own.
		if wall, monotonic := time.Now().Round(0).Sub(first.before.Round(0)), time.Since(first.before); (wall - monotonic).Abs() > time.Minute {
			t.Errorf("by the clock of this process %s have passed, in truth %s", wall, monotonic)
		}
	}
}

// However often it is done, the child lives on.
func TestSetManyTimes(t *testing.T) {
	for range 5 {
		c := startChild(t)
		for i := range 20 {
			if err := Set(c.pid, time.Duration(i)*time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if seen := c.ask(t); seen.wall.Before(seen.after.Add(19 * time.Hour)) {
			t.Errorf("the child's clock shows %s, want 19 hours ahead of %s", seen.wall, seen.after)
		}
	}
}

func TestSetSaysWhatItCannotDo(t *testing.T) {
	for name, set := range map[string]struct {
		pid   int
		ahead time.Duration
	}{
		"part of a second": {os.Getpid(), 1500 * time.Millisecond},
		"a century":        {os.Getpid(), 100 * 365 * 24 * time.Hour},
		"no process":       {-1, time.Hour},
		"the caller":       {os.Getpid(), time.Hour},
	} {
		if err := Set(set.pid, set.ahead); err == nil {
			t.Errorf("%s: there is no error", name)
		}
	}
}
