package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
)

// What is said of a test.
const (
	passedVerdict = "pass"
	failedVerdict = "FAIL"
)

// maxReason is how much of a failure's message is printed; the rest is in the report itself.
const maxReason = 400

// result is what became of one test.
type result struct {
	test, verdict, reason string
}

// suiteReport is the part of ginkgo's JSON report that is needed here.
type suiteReport struct {
	SpecReports []struct {
		ContainerHierarchyTexts []string
		LeafNodeType            string
		LeafNodeText            string
		State                   string
		Failure                 struct{ Message string }
	}
}

func readReport(file string) ([]result, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var suites []suiteReport
	if err := json.Unmarshal(content, &suites); err != nil {
		return nil, fmt.Errorf("%q is no JSON report of ginkgo: %w", file, err)
	}
	var results []result
	for _, suite := range suites {
		for _, spec := range suite.SpecReports {
			if strings.HasSuffix(spec.LeafNodeType, "BeforeSuite") && spec.State == "failed" {
				return nil, fmt.Errorf("the suite could not begin: %s", oneLine(spec.Failure.Message))
			}
			// Those that the focus leaves out are skipped; nodes around the suite are no tests; one that somebody ended has no verdict.
			if spec.LeafNodeType != "It" || slices.Contains([]string{"skipped", "pending", "interrupted"}, spec.State) {
				continue
			}
			name := strings.Join(append(spec.ContainerHierarchyTexts, spec.LeafNodeText), " ")
			r := result{test: withoutLabels(name), verdict: passedVerdict}
			if spec.State != "passed" {
				r.verdict, r.reason = failedVerdict, oneLine(spec.State+": "+spec.Failure.Message)
			}
			results = append(results, r)
		}
	}
	sort.Slice(results, func(i, j int) bool { return results[i].test < results[j].test })
	return results, nil
}

// withoutLabels removes labels such as [Conformance] and what would end a cell of a table.
func withoutLabels(name string) string {
	var words []string
	for word := range strings.FieldsSeq(strings.ReplaceAll(name, "|", "/")) {
		if !strings.HasPrefix(word, "[") || strings.HasPrefix(word, "[sig-") {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

func oneLine(text string) string {
	line := []rune(strings.Join(strings.Fields(text), " "))
	if len(line) > maxReason {
		return string(line[:maxReason]) + "..."
	}
	return string(line)
}
