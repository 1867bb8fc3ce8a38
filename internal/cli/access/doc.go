// Package access is `matry explain-access`: may somebody do something on the host cluster, and which binding gives it to them, or
// what is missing.
//
// The API server decides; this package only explains, by looking at the same roles and bindings. Its invariants: the answer is
// that of the API server, whatever the explanation finds; it changes nothing and acts as nobody else.
package access
