// Package testenv starts real Kubernetes API servers inside a test process, in about a second each.
//
// It is for integration tests only and is imported by no product code. A host and a tenant are the same machinery
// here: a kube-apiserver with the controllers that make namespaces terminate, default ServiceAccounts appear, owned
// objects be collected and EndpointSlices follow Services. There is no kubelet and no scheduler: tests write pod
// status and bindings themselves. Invariants: everything listens on 127.0.0.1 only, on ports the kernel picks; every
// server ends with its test; servers share nothing, so a test may start several.
package testenv
