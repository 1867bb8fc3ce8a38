// Package control starts, watches and stops an embedded host from outside: it is what `matry up`, `down`, `status` and
// `load image` call, and what the host process itself uses for the places of its files.
//
// It imports no Kubernetes server code, so that the CLI stays small. Its invariants: everything a host owns outside its
// data folder carries the host's ID in its name, the ID follows from the data folder alone, and Stop removes by that ID
// and by nothing else, so that it never touches what another host or another program made.
package control
