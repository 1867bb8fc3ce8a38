// Package rulekeeper keeps the rules of each account on all its namespaces: spaces, and the control and mapped namespaces of its
// virtual clusters.
//
// Whoever makes a namespace puts the rules on it that hold then; this controller follows what changes afterwards: the account, the
// host's default priority class, and hands that took an annotation off. What the rules mean, and that the host enforces them, is
// package rules and the chart. It makes and deletes no namespace, and gives none to an account.
//
// Invariant: an account whose rules cannot be read keeps those that it had, and says so in its condition RulesEnforced.
package rulekeeper
