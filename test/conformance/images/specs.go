package main

import upstream "k8s.io/kubernetes/test/utils/image"

// registry is what hack/conformance.sh starts.
const registry = "matryoshka.dev/registry:conformance"

// spec is one test image: its layers are folders, the later ones over the earlier ones.
type spec struct {
	reference  string
	layers     []string
	entrypoint []string
	arguments  []string
	// user is empty for root, as in the images that these stand for.
	user string
}

// specs are the images that the conformance tests use. Upstream's are made from Alpine, Debian and BusyBox; these from
// Debian's packages, with upstream's own programs in them.
func specs() []spec {
	agnhost := []string{"debian", "agnhost"}
	run := []string{"/agnhost"}
	nginx := []string{"nginx", "-g", "daemon off;"}
	return []spec{
		{reference: upstream.GetE2EImage(upstream.Agnhost), layers: agnhost, entrypoint: run, arguments: []string{"pause"}},
		{reference: upstream.GetE2EImage(upstream.AgnhostPrev), layers: agnhost, entrypoint: run, arguments: []string{"pause"}},
		{reference: upstream.GetE2EImage(upstream.BusyBox), layers: []string{"busybox"}, arguments: []string{"sh"}},
		{reference: upstream.GetPauseImageName(), layers: []string{"pause"}, entrypoint: []string{"/pause"}, user: "65535:65535"},
		{reference: upstream.GetE2EImage(upstream.Kitten), layers: append(agnhost[:2:2], "kitten"), entrypoint: run, arguments: []string{"test-webserver"}},
		{reference: upstream.GetE2EImage(upstream.Nautilus), layers: append(agnhost[:2:2], "nautilus"), entrypoint: run, arguments: []string{"test-webserver"}},
		{reference: upstream.GetE2EImage(upstream.NonRoot), layers: agnhost, entrypoint: run, arguments: []string{"pause"}, user: "1234"},
		{reference: upstream.GetE2EImage(upstream.Nonewprivs), layers: []string{"busybox", "nonewprivs"}, arguments: []string{"nnp"}},
		{reference: upstream.GetE2EImage(upstream.GlibcDnsTesting), layers: []string{"debian"}, arguments: []string{"sh"}},
		{reference: upstream.GetE2EImage(upstream.Nginx), layers: []string{"nginx"}, arguments: nginx},
		{reference: upstream.GetE2EImage(upstream.NginxNew), layers: []string{"nginx"}, arguments: nginx},
		{reference: upstream.GetE2EImage(upstream.APIServer), layers: []string{"sample-apiserver"}, entrypoint: []string{"/sample-apiserver"}},
		{reference: upstream.GetE2EImage(upstream.Etcd), layers: []string{"busybox", "etcd"}, arguments: []string{"etcd"}},
		{reference: registry, layers: []string{"registry"}, entrypoint: []string{"/registry"}},
	}
}
