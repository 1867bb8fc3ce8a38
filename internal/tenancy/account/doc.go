// Package account looks after Account objects: what their subjects may do with the account itself, the spaces that are made with
// it, how much of its limits is used, and its end.
//
// The spaces themselves are package space's; the policies of the chart decide who may make one. Its invariants:
//
//   - What the agent grants is one ClusterRole for each account, which names the account and its spaces one by one, and one binding
//     of it to the subjects. Nobody can list, so nobody sees names of others.
//   - Subjects lose what they must not have any more before anything else is looked at.
//   - An account that is deleted takes its spaces with it, each in its own order, and goes last.
package account
