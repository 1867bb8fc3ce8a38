// Package spaces puts spaces to sleep and wakes them: it scales what runs in their namespaces to zero and back.
//
// Deployments, StatefulSets and ReplicaSets without a controller go to zero replicas and get exactly the replicas back that they
// had, which an annotation on each keeps; CronJobs are suspended; bare pods are deleted if the policy says so. Jobs, DaemonSets,
// what belongs to another controller and what is annotated to be left alone run on. A HorizontalPodAutoscaler leaves a target
// with zero replicas alone by Kubernetes' own rule. Virtual clusters sleep with their space by themselves.
//
// It decides nothing: internal/tenancy/sleep does. Invariants: a workload's replicas and the annotation that keeps them are written
// by one patch, against the version that was read; what somebody scales up meanwhile stays as they want it; what had no replicas
// before the sleep has none after it.
package spaces
