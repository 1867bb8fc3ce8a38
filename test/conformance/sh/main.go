// Command sh is the shell of the busybox image. Tests look for what BusyBox' ash says. But Debian's drops environment
// variables that no shell could have set, such as data-1, which other tests look for: these get bash.
package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

func main() {
	shell := shellFor(os.Environ())
	err := syscall.Exec(shell, os.Args, os.Environ()) //nolint:gosec // a shell runs what it is told
	fmt.Fprintf(os.Stderr, "%s: %v\n", shell, err)
	os.Exit(127)
}

// shellFor is BusyBox, which knows by its first argument that it is to be a shell, if it keeps all variables.
func shellFor(environment []string) string {
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		if !isShellName(name) {
			return "/bin/bash-static"
		}
	}
	return "/bin/busybox"
}

func isShellName(name string) bool {
	for index, char := range name {
		isLetter := char == '_' || 'a' <= char && char <= 'z' || 'A' <= char && char <= 'Z'
		if !isLetter && (index == 0 || char < '0' || char > '9') {
			return false
		}
	}
	return name != ""
}
