package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	// stepTimeout is how long one command of the walk-through may take: longer than homeWithMatry has it wait, so that it says for what.
	stepTimeout = 11 * time.Minute
	// lookTimeout is how long a command that only looks is repeated until it shows what the document does.
	lookTimeout = startTimeout
)

// The walk-through of accounts runs as it stands in the documents, with what it shows of the answers: an admin makes an account and a
// quota, a user works in it, meets its limits from both sides, and is suspended.
func TestAccountWalkthrough(t *testing.T) {
	t.Parallel()
	home := homeWithMatry(t)
	// Whatever stops the walk-through, the host is as before.
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
		defer cancel()
		_ = shared.matry(ctx, "delete", "accountquota", "shop", "--ignore-not-found")
		if ended := shared.matry(ctx, "delete", "account", "shop", "--ignore-not-found", "--timeout", "8m"); ended.err != nil {
			t.Error(ended.err)
		}
	})
	for _, step := range consoleSteps(t, "accounts.md") {
		if !t.Run(step.line, func(t *testing.T) { step.run(t, home) }) {
			t.Fatal("the rest of the walk-through needs this step")
		}
	}
}

// consoleStep is a command of a document and what the document shows of its answer.
type consoleStep struct {
	line  string
	shows []string
}

// consoleSteps are the commands of a document in their order.
func consoleSteps(t *testing.T, document string) []consoleStep {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "user", document))
	if err != nil {
		t.Fatal(err)
	}
	var steps []consoleStep
	for _, block := range consoleBlock.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSpace(line)
			command, isCommand := strings.CutPrefix(line, "$ ")
			switch {
			case isCommand:
				steps = append(steps, consoleStep{line: command})
			case line != "" && len(steps) > 0:
				last := &steps[len(steps)-1]
				last.shows = append(last.shows, line)
			}
		}
	}
	if len(steps) == 0 {
		t.Fatalf("%s shows no command", document)
	}
	return steps
}

// onlyLooks is a command that changes nothing, so that it can be run until it shows what the document does.
var onlyLooks = regexp.MustCompile(`\b(get|describe|top|events|explain-access)\b`)

func (s consoleStep) run(t *testing.T, home string) {
	timeout := stepTimeout
	if onlyLooks.MatchString(s.line) {
		timeout = lookTimeout
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	err := s.once(ctx, home)
	for err != nil && s.mayBeRunAgain(err) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
			if again := s.once(ctx, home); ctx.Err() == nil {
				err = again
			}
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// mayBeRunAgain tells whether a command that failed has changed nothing: it only looks, or the quota refused it before the room that
// the account has was where it was needed, which docs/operate/quotas.md says of busy hosts.
func (s consoleStep) mayBeRunAgain(err error) bool {
	return onlyLooks.MatchString(s.line) || !s.fails() && strings.Contains(err.Error(), "exceeded quota")
}

// once runs the command as it stands there and compares.
func (s consoleStep) once(ctx context.Context, home string) error {
	cmd := shared.command(ctx)
	shell, err := exec.LookPath("sh")
	if err != nil {
		return err
	}
	cmd.Path, cmd.Args, cmd.Dir = shell, []string{"sh", "-c", s.line}, home
	cmd.Env = append(cmd.Env, "HOME="+home, "PATH="+home+":"+os.Getenv("PATH"))
	ended := run(ctx, cmd)
	if s.fails() != (ended.err != nil) {
		return fmt.Errorf("%s: it ended with code %d:\n%s%s", s.line, ended.code, ended.stdout, ended.stderr)
	}
	for _, line := range s.shows {
		if !shownAs(line).MatchString(ended.stdout + ended.stderr) {
			return fmt.Errorf("%s: it does not show %q:\n%s%s", s.line, line, ended.stdout, ended.stderr)
		}
	}
	return nil
}

// fails tells whether the document shows an error.
func (s consoleStep) fails() bool {
	return len(s.shows) > 0 && (strings.HasPrefix(s.shows[0], "matry: ") || strings.HasPrefix(s.shows[0], "Error "))
}

// shownAs is a line of a document as a pattern: columns may be wider, and "…" stands for anything.
func shownAs(line string) *regexp.Regexp {
	words := strings.Fields(line)
	for i, word := range words {
		words[i] = strings.ReplaceAll(regexp.QuoteMeta(word), "…", ".*")
	}
	return regexp.MustCompile(strings.Join(words, `\s+`))
}
