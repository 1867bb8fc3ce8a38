// Package visible finds out which accounts and spaces of a host cluster somebody may see, and filters lists by it.
//
// Users have no right to list accounts and spaces: a list would tell the names of others. What is theirs stands by name in
// the rules that the agent makes for their account. This package reads those rules, so that a command or a gateway
// can show "mine" with a fixed number of questions to the API server, however many objects there are.
//
// It grants nothing and decides nothing that RBAC does not decide. Its invariants: one review of the rules for each call, and at
// most MaxReviews single ones where an authorizer of the cluster cannot list its rules; a rule of a namespace never counts for
// an object that is in none; in doubt a name is left out.
package visible
