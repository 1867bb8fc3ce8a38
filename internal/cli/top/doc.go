// Package top is `matry top`: how much of its limits and quotas an account uses.
//
// It shows what the agent and the quotas have counted. What pods really use at the moment is `kubectl top`.
package top
