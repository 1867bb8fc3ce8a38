// Command report prints what passed and failed in runs of the conformance tests, and keeps it in a document: a row for each
// test, a column for each profile. A run of a part of the tests changes the rows of that part only. It ends with an error
// when a test failed that nobody has given a reason for in the document. In profile conformance no reason counts for a test
// that passes on the host.
//
//	report DOCUMENT.md PROFILE=REPORT.json...
package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: report DOCUMENT.md PROFILE=REPORT.json...")
		os.Exit(2)
	}
	if err := run(os.Stdout, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, document string, runs []string) error {
	content, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	kept, err := parse(string(content))
	if err != nil {
		return fmt.Errorf("read %q: %w", document, err)
	}
	found := map[string][]result{}
	for _, r := range runs {
		profile, file, ok := strings.Cut(r, "=")
		if !ok {
			return fmt.Errorf("%q is not PROFILE=REPORT.json", r)
		}
		results, err := readReport(file)
		if err != nil {
			return fmt.Errorf("read the report of profile %q: %w", profile, err)
		}
		found[profile] = append(found[profile], results...)
	}
	var unexplained []error
	for _, profile := range profilesOf(found) {
		if len(found[profile]) == 0 {
			return fmt.Errorf("no test ran in profile %q: does the focus match one?", profile)
		}
		show(out, profile, found[profile])
		if err := kept.merge(profile, found[profile]); err != nil {
			return err
		}
		unexplained = append(unexplained, explain(out, profile, found[profile], kept, reasons(string(content))))
	}
	if err := os.WriteFile(document, []byte(kept.replaceIn(string(content))), 0o644); err != nil {
		return err
	}
	return errors.Join(unexplained...)
}

// profilesOf are the profiles of a run, the host first: what happened there counts for the others.
func profilesOf(found map[string][]result) []string {
	names := slices.Sorted(maps.Keys(found))
	slices.SortStableFunc(names, func(a, b string) int { return slices.Index(profiles, a) - slices.Index(profiles, b) })
	return names
}

// explain tells what is wrong with the reasons: a test that failed without one, or passed in spite of one.
func explain(out io.Writer, profile string, results []result, kept table, reasons map[string]string) error {
	var failed []string
	for _, r := range results {
		hasReason := reasons[r.test] != "" && (profile != conformanceProfile || kept.verdict(r.test, hostProfile) == failedVerdict)
		switch {
		case r.verdict == failedVerdict && !hasReason:
			failed = append(failed, r.test)
		case r.verdict == passedVerdict && hasReason && profile == defaultProfile:
			fmt.Fprintf(out, "%s\tpasses; remove its reason\t%s\n", profile, r.test)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("profile %s: %d tests failed without a reason:\n\t%s", profile, len(failed), strings.Join(failed, "\n\t"))
}

func show(out io.Writer, profile string, results []result) {
	failed := 0
	for _, r := range results {
		fmt.Fprintf(out, "%s\t%s\t%s\n", profile, r.verdict, r.test)
		if r.verdict == failedVerdict {
			failed++
			fmt.Fprintf(out, "\t%s\n", r.reason)
		}
	}
	fmt.Fprintf(out, "%s: %d of %d passed\n", profile, len(results)-failed, len(results))
}
