// Package integration tests what the host makes of the rules of accounts: the admission policies of the chart against a real API
// server, from the side of those who live under them.
package integration
