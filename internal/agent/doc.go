// Package agent is the composition root of matryd agent, the one operator per host cluster: it puts the lifecycle
// controller, the sync engine, the doors and the front door into one process.
//
// It contains no logic of these. What changes the host (lifecycle, sync) is done for each virtual cluster by the replica that
// holds its shard; what tenants call (the doors, the front door) is served by every replica for all of them.
package agent
