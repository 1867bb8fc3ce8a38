// Package suite pins what Kubernetes' end-to-end suite and its test images are built from. It is a module of its own, so
// that the product's list of dependencies stays the product's.
package suite

import (
	// The suite is the test program of the first; the second is what only its tests import.
	_ "k8s.io/kubernetes/test/e2e"
	_ "k8s.io/kubernetes/test/e2e/apimachinery"
)
