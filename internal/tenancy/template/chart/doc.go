// Package chart fetches Helm charts and renders them for templates.
//
// It is not for installing: nothing here talks to a Kubernetes API, and a chart cannot look anything up. Whoever writes templates
// decides where is fetched from and which chart is run; whoever uses a template decides values only. Invariants: every fetch is
// bounded in time and size and its result is kept, since a version of a chart does not change; rendering happens in a
// process of its own, which has nothing but the chart and its values and is bounded in time, memory and size; a value that changes
// the structure of what a chart renders, or that could be run as a Go template, is refused.
package chart
