// Package virtualcluster is the commands about virtual clusters: create, get, describe, edit and delete.
//
// They read and write VirtualCluster objects of the host cluster and nothing else; the agent does the work. What a
// command waits for it watches.
package virtualcluster
