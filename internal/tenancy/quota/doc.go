// Package quota holds the quotas of accounts: what all namespaces of an account use together stays within each AccountQuota of
// the account.
//
// An AccountQuota is held in escrow: every namespace of the account has a native ResourceQuota whose bounds are its part, and
// the parts are never more than the whole. So the host's own admission decides about every request, exactly, with every
// replica of the agent down. The package moves parts to where they are needed, and one webhook, which never refuses
// anything, tells it where that is before a request is refused. It does not count objects itself and evicts nothing.
//
// Its invariants:
//   - A part is raised only while the sum over all namespaces of the largest of spec.hard, status.hard and status.used, with what
//     may still be on its way, stays within the account's bound. A crash at any point changes nothing about that.
//   - A ResourceQuota is written with the version that was read, by the one replica whose epoch it carries.
//   - A namespace is in the escrow, with nothing, before anything can be created in it: see InPlace.
//
// Design document 0014 has the proof.
package quota
