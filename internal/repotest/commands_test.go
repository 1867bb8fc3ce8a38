package repotest

import (
	"regexp"
	"strings"
	"testing"
)

var (
	makeTarget = regexp.MustCompile(`(?m)^([a-z0-9-]+):`)
	usageLine  = regexp.MustCompile(`(?m)^Usage:\n\s+(.*)$`)
	word       = regexp.MustCompile(`^[a-z][a-z-]*$`)
)

// Every command that a document shows exists: the targets of make, the commands of matry and their flags.
// A shown command is a line of a console block that begins with "$ ".
func TestDocumentedCommandsExist(t *testing.T) {
	targets := map[string]bool{}
	for _, match := range makeTarget.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[match[1]] = true
	}
	shown := 0
	for _, document := range files(t, ".md") {
		for _, command := range consoleCommands(read(t, document)) {
			words := strings.Fields(command)
			switch words[0] {
			case "make":
				checkTargets(t, document, words[1:], targets)
			case "matry", "bin/matry":
				checkMatry(t, document, words[1:])
			default:
				continue
			}
			shown++
		}
	}
	if shown == 0 {
		t.Error("no document shows a command: this test looks in the wrong place")
	}
}

func consoleCommands(text string) []string {
	var commands []string
	for _, block := range fenced.FindAllStringSubmatch(text, -1) {
		if block[1] != "console" {
			continue
		}
		for line := range strings.Lines(block[2]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				commands = append(commands, strings.TrimPrefix(strings.TrimSpace(command), "sudo "))
			}
		}
	}
	return commands
}

func checkTargets(t *testing.T, document string, words []string, targets map[string]bool) {
	t.Helper()
	for _, target := range words {
		if !strings.Contains(target, "=") && !targets[target] {
			t.Errorf("%s shows make %s, which is no target", document, target)
		}
	}
}

// checkMatry asks matry itself: the help of a command names the command that cobra found, and its flags. What follows
// "--", and what belongs to kubectl, is not ours to check.
func checkMatry(t *testing.T, document string, words []string) {
	t.Helper()
	var path, flags []string
	for _, w := range words {
		if w == "--" || w == "|" || w == ">" {
			break
		}
		if strings.HasPrefix(w, "-") {
			name, _, _ := strings.Cut(w, "=")
			flags = append(flags, name)
			continue
		}
		if len(flags) == 0 && word.MatchString(w) {
			path = append(path, w)
		}
	}
	if len(path) == 0 || path[0] == "kubectl" {
		return
	}
	help := run(t, "bin/matry", append(path, "--help")...)
	usage := usageLine.FindStringSubmatch(help)
	if len(usage) < 2 || !strings.HasPrefix(usage[1], "matry "+path[0]) {
		t.Errorf("%s shows matry %s, which is no command:\n%s", document, strings.Join(words, " "), help)
		return
	}
	for _, flag := range flags {
		if !regexp.MustCompile(`(?m)(^|[\s,])` + regexp.QuoteMeta(flag) + `\b`).MatchString(help) {
			t.Errorf("%s shows matry %s, but it has no flag %s", document, strings.Join(words, " "), flag)
		}
	}
}
