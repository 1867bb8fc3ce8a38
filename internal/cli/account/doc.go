// Package account is the commands about accounts: who may use a host cluster, and how much of it.
//
// It makes and changes Account objects only; the agent does the rest.
package account
