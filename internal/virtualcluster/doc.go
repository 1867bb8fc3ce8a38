// Package virtualcluster turns VirtualCluster objects into running control planes on the host, and takes them down
// again: the lifecycle controller, the controller that fills tenants.Registry, and the collector of namespaces whose
// VirtualCluster is gone.
//
// It never copies an object of a tenant; that is the sync engine. Its invariants:
//
//   - The finalizer is on the VirtualCluster before anything is made for it, so that whatever was made is found again.
//   - An ID is reserved by creating the control namespace; an object that the agent did not create is never adopted.
//   - Everything made carries the labels of package mapping. Deletion goes by these labels and by the UID, and touches
//     nothing else.
//   - Everything is applied from the spec, again and again; nothing is remembered that a restart would lose, but for
//     what only saves work.
package virtualcluster
