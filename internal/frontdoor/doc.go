// Package frontdoor is the one TLS port through which the API servers of all virtual clusters are reached.
//
// It reads the server name of a TLS ClientHello and passes the connection on, byte for byte, to the control plane of
// that name. It terminates no TLS, holds no key and sees no request: who may do what is decided by the tenant's own
// API server. A connection to a virtual cluster that sleeps asks for it to wake, and waits until it has.
//
// Its invariants: everything before the connection is passed on is bounded in time and size; the number of connections is
// bounded, in all and per tenant, and that of those that wait; Serve returns only when every connection is closed.
package frontdoor
