// Package faults stands between a client and an API server in tests, and does what networks and loaded servers do: it delays
// requests, loses them or their answers, answers with errors, ends watches, and goes silent.
//
// It is for tests only and is imported by no product code. An Injector works on requests, Late on watches, a Link on connections. What
// happens to which request is random, from a seed that the test prints. Invariants: an answer that is lost was made by the
// server before, so that the write counts; nothing outlives its test.
package faults
