// Package tenancy is what the parts of the host's tenancy share: the kinds that they know, what of the host they
// watch, and how their controllers queue what is to be done.
//
// The parts are the packages below it, each with one controller or one thing: account and space, slot for count limits,
// grant for bindings, report for statuses. It is composed in internal/agent.
package tenancy
