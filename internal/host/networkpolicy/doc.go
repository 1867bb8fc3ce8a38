// Package networkpolicy enforces NetworkPolicies on an embedded host with nftables.
//
// A pure function compiles all policies, pods and namespaces into a Ruleset; the controller brings the table to it in
// one transaction whenever it has changed, so there is no moment with half of the rules. See
// docs/design/0001-network-policy-on-the-embedded-host.md for why the project has its own.
//
// Its invariants: rules see pods' own addresses (Service addresses are replaced before, masquerading comes after); what
// the node itself sends to its pods is never filtered, so that probes work; what a pod without rights to it sends to the
// node is, so that an isolated pod does not reach the host's API server; a pod's rules hold before its first container is
// created. Only IPv4: the host has no other addresses.
package networkpolicy
