// Package version says which build this is. The values are set by the linker; see the Makefile.
package version

// Version of this build, such as v0.1.0 or v0.0.0-dev. It is also the tag of the product's images.
var Version = "v0.0.0-dev"

// Commit this build was made from; empty when unknown.
var Commit = ""
