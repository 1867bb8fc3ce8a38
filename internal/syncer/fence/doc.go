// Package fence says by which network policies a mapped namespace is fenced, and what a tenant's own policies may open.
//
// It is pure. Network policies only ever add: what one of them lets through, no other can forbid. So the fence must not
// let through what a tenant's policy means to forbid, and a tenant's policy must not let through what the fence means to
// forbid. The first is done by labels on host pods: in a direction for which no policy of the tenant selects a pod, its
// label is "open", and the policy that lets its own tenant and the internet through selects just those. The second is done
// by rewriting every peer that is not a selector; see package networkpolicy.
//
// Its invariant: a pod without labels, or whose labels lag behind, is closed and not open; and whatever the labels are,
// nothing but the tenant's own pods, its control plane, the DNS, the host's ingress controllers and the internet is let
// through.
package fence
