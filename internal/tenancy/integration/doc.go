// Package integration tests accounts and spaces together, with the agent's own rights and policies and with the people whom they
// are for. It has no code of its own.
package integration
