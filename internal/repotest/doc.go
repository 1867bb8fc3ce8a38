// Package repotest holds the rules of this repository that no compiler and no linter checks: the pinned modules, the
// documentation, the size and the imports of the programs.
//
// It has tests only and is imported by nothing. A rule that needs a built program reads it from bin/ and fails when it is
// not there: `make verify` builds first.
package repotest
