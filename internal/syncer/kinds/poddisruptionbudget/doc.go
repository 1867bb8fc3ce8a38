// Package poddisruptionbudget carries to the host how many pods of a budget must stay, so that a drain of a host node
// respects the tenant's budgets.
//
// What a budget means depends on the tenant's workloads, which the host does not have: percentages and maxUnavailable
// count from their replicas. The tenant's own controller works it out as status.desiredHealthy; the copy says that number
// and nothing else. The status of the copy means nothing to the tenant, whose own evictions its own API server decides.
//
// Invariants: the copy never says a number that was worked out for an older spec; where the tenant's controller cannot
// work one out, the copy allows no disruption, as the tenant's budget does.
package poddisruptionbudget
