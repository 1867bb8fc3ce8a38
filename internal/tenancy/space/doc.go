// Package space turns Space objects into namespaces that belong to an account, and takes them down again.
//
// It does not apply templates, count quotas or put anything to sleep. Its invariants:
//
//   - The finalizer is on the Space before anything is made for it.
//   - A namespace is made or taken over only for a Space that holds a slot of its account, and only if its label says
//     that it is this very Space's is it ever changed or deleted. One that the agent did not make is taken over only where
//     whoever it belongs to has labelled it for that.
//   - People lose what they must not have any more before anything else is looked at: no limit, template or error delays
//     it. They are given what they may have only when the templates are in place.
//   - Deletion goes in order: access, virtual clusters, what others have added, the namespace, the slot, the finalizer.
//     It needs no account.
package space
