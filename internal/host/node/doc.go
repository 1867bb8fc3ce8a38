// Package node is the inner process of an embedded host: the datastore, the control plane, the node's agents, DNS, storage
// and network policies, all in one process in the host's network namespace.
//
// The second node, where there is one, is another process with the node's agents and policies only, in a network namespace of its own.
//
// The Kubernetes components are the upstream packages, each run once with the options that its own command would parse.
// Its invariants: the process ends with any component (the supervisor starts it again), and what this process serves to
// the machine comes through listeners that the supervisor opened on 127.0.0.1.
package node
