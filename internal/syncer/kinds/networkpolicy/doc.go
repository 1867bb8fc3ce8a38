// Package networkpolicy copies the tenant's NetworkPolicies to the host, and says of each pod whether policies select it.
//
// Selectors of pods need no translation. Selectors of namespaces are rewritten to the labels that mapped namespaces have, and
// mean the tenant's own namespaces only. A peer that is no selector means addresses, so it is rewritten to what of them is
// the tenant's (its own pods) or nobody's (the internet). How the copies and the fence of a mapped namespace stand to each
// other is package fence's business.
//
// Invariants: a copy lets through nothing that the fence without policies would not let through; a rule whose peers are
// all refused is left out and never becomes one without peers, which would let through everything; a policy that cannot be
// expressed leaves the pods that it selects closed; the fence's own policies, whose names are reserved, are never touched.
package networkpolicy
