// Package space is the commands about spaces: namespaces of the host cluster that belong to an account.
//
// It makes and changes Space objects only; the agent makes their namespaces.
package space
