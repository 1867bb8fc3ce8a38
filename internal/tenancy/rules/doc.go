// Package rules is what an account says about the pods, volumes and virtual clusters in its namespaces, in the form in which
// the host enforces it: annotations of each namespace, which the admission policies of the chart read.
//
// The annotations are there from a namespace's first moment, so that no request is judged without them; an object that policies
// take as a parameter would come after the namespace. The same rules are what the agent goes by when it makes control planes and
// host pods, which it reads back from the control namespace: what it makes is what the host accepts.
//
// It is pure: no client, no state. It does not know limits and quotas, which count over namespaces. Its invariants: what
// Put writes Of reads back; a namespace of an account without rules allows nothing new; rules that cannot be written unambiguously
// are refused rather than written.
package rules
