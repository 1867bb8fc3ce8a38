// Package embeddedhost is the commands about the one-machine Kubernetes that matry starts when there is no cluster to
// use: up, down, status and load image.
//
// It starts and stops the host through internal/host/control, which imports no server code, and installs on it what
// `matry install` installs anywhere else. All commands can be repeated: what is there already is left as it is.
package embeddedhost
