// Package engine keeps the objects of virtual clusters and their host copies in step.
//
// It owns what is the same for every kind: caches, queues, fairness between tenants, ownership labels, writing,
// deletion, refusals told as events, metrics. What differs is a Kind: what wakes it and what it does with one key. The
// engine does not know any kind, makes no control planes and serves no requests.
//
// Its invariants:
//   - A key names a tenant object: (virtual cluster, kind, tenant namespace, name). Keys are level-triggered: they say
//     "look at this object again" and nothing about what happened.
//   - One key is worked on by one worker at a time. Kinds need no locks for what belongs to one key.
//   - A tenant is served only while it is this replica's (package shards). When it is lost, work on its keys ends at once;
//     when it is gained, everything of it is looked at as after a start.
//   - Tenants wait for their own work only: each has its own queue, served in turn, a limit of workers, and a breaker
//     that stops asking an API server that is away. A worker that a tenant's API server keeps waiting is that tenant's own
//     from then on, and another takes its place among those that all share. Keys that got no answer wait apart from the
//     tenant's others and are tried a few at a time, every second, so that all go on as soon as one is answered.
//   - A panic over one object is an error of that object's key, never the end of the agent.
//   - Nothing waits for a cache to show what was just written. A write that is based on an old copy gets a conflict and
//     its key comes again.
//   - A host object is written or deleted only when it carries the tenant's labels and the tenant object's UID.
//   - A host object is deleted for want of a tenant object only after the tenant's API server, not a cache, said so.
//   - Text that a tenant reads carries no host names: see Scope.Redact.
package engine
