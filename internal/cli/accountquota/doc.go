// Package accountquota is the commands about account quotas: what all namespaces of an account may use together.
//
// It checks the names and amounts of a quota before they are sent, since a mistyped name would bound nothing.
package accountquota
