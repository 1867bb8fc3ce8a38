// Package shards divides the virtual clusters among the replicas of the agent: every virtual cluster belongs to one of a
// fixed number of shards, and every shard is held by one replica at most.
//
// Each replica keeps a Lease of its own, which it renews; one further Lease, the table, says who holds which shard and is
// changed only when replicas come and go. The package knows no virtual clusters but by their UID, and nothing of what is
// done for them: whoever does something enters the shard first, and is told when it must end.
//
// Its invariants:
//   - A replica serves a shard only after it has itself written into the table that the shard is its own, and only while
//     its own Lease has been renewed all the time since then. Who could not renew stops by itself, before others may think
//     that it is gone, and writes the table anew before it goes on.
//   - A shard is taken from a replica only if that replica's Lease has not changed for longer than this, by the clock of
//     the one that takes, while its own renewals went through. Clocks of two machines are never compared.
//   - A shard is given up only when all work on it has ended.
//
// So two replicas never work on one virtual cluster, as long as clocks go about equally fast and a replica's process is not
// halted and goes on later: a call that it had sent off before may then still arrive. Every write of the agent carries the
// version or the UID of what it means, for that case too.
package shards
