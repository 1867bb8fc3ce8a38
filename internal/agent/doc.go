// Package agent is the composition root of matryd agent, the one operator per host cluster: it puts the lifecycle
// controller, the sync engine, the doors and the front door into one process.
//
// It contains no logic of these. What changes the host (lifecycle, sync) runs on the replica that holds the lease; what
// tenants call (the doors, the front door) runs on every replica.
package agent
