// Package event brings the host's events about the copies of a tenant's objects to the objects themselves, so that
// `kubectl describe` in the tenant says why a pod does not start.
//
// Events are core/v1 on both sides and keep their name, so a repetition raises the count of the one that is there. The
// text is written by the host and may name what only the host knows; see scrubber.
//
// Invariants: only events about pods, claims and Services of the tenant are copied, and only those whose object is the
// copy of a tenant object; no name of a host namespace reaches the tenant; an event in the tenant that the agent did not
// make is never written; events that the agent itself wrote are not copied; a tenant gets so many events a second and the
// rest come later.
package event
