// Package e2e tests the product as people use it: the programs in bin/, an embedded host of its own, the CLI, and the
// tenant's kubeconfig.
//
// It builds nothing (`make test-e2e` does, first) and knows the product's folders only where it checks what is left behind.
// Its invariants: it needs root and says so instead of skipping; every host has its own data folder and ports, so that a
// host of the developer is left alone; tests that run in parallel share one virtual cluster and keep to namespaces of their
// own in it; what is waited for is a condition with a deadline, and a failed wait prints what was there instead.
package e2e
