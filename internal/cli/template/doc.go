// Package template is the commands about templates, their instances in spaces, and space templates.
//
// It makes and changes the objects only: what a template makes of a space is the agent's work.
package template
