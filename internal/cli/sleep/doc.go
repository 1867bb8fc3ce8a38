// Package sleep makes the commands that put spaces and virtual clusters to sleep, wake them, and put off their deletion.
//
// It writes what the owner asks for (spec.sleep) and the wish to wake; when something sleeps is decided by the agent. Its invariants: a
// name that is given is read before anything is changed; what else spec.sleep says stays as it is.
package sleep
