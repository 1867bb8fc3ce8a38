// Package sleep decides when something sleeps and when it is deleted for idleness: a pure function of what its owner asks for, what
// was observed, and the time.
//
// It is for spaces and virtual clusters alike and does nothing to either: who stops and starts their workloads is
// internal/tenancy/sleep/spaces and internal/virtualcluster.
//
// Invariants: what cannot be understood keeps awake; only what has slept for idleness is deleted, never before it was warned of for
// as long as promised by a clock that does not jump; idleness begins when it is first asked about, not before.
package sleep
