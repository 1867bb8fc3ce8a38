// Package integration tests templates on a real API server with the chart's rights and policies, as the users and the agent that
// there are in use. It holds tests only.
package integration
