package integration

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/endpointslice"
)

// prepareHost gives the host a node, as a real one has, before the engine starts.
func (w *world) prepareHost(t *testing.T) {
	t.Helper()
	node := create(t, w.host, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1"},
		Spec:       corev1.NodeSpec{PodCIDR: "10.244.0.0/24", PodCIDRs: []string{"10.244.0.0/24"}},
	})
	changeStatus(t, w.host, node, func(node *corev1.Node) {
		node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "203.0.113.5"}}
	})
}

func withoutSelector(service *corev1.Service) { service.Spec.Selector = nil }

func newSlice(namespace, name, service string, addresses ...string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: addresses, NodeName: pointer("node-1")}},
		Ports:       []discoveryv1.EndpointPort{{Name: pointer("http"), Port: pointer(int32(80)), Protocol: pointer(corev1.ProtocolTCP)}},
	}
}

// names checks that a host slice names exactly these addresses.
func names(want ...string) func(*discoveryv1.EndpointSlice) error {
	return func(slice *discoveryv1.EndpointSlice) error {
		var have []string
		for _, endpoint := range slice.Endpoints {
			have = append(have, endpoint.Addresses...)
			if endpoint.NodeName != nil || endpoint.TargetRef != nil {
				return fmt.Errorf("endpoint has words of the host: %+v", endpoint)
			}
		}
		return expect(slices.Equal(have, want), "addresses = %v, want %v", have, want)
	}
}

// hostPod makes a host pod with an address, as if the kubelet ran it.
func (w *world) hostPod(t *testing.T, hostNamespace, name, address string, labels map[string]string) *corev1.Pod {
	t.Helper()
	await(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "default"}, &corev1.ServiceAccount{}, func(*corev1.ServiceAccount) error { return nil })
	pod := create(t, w.host, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: name, Labels: labels},
		Spec: corev1.PodSpec{
			NodeName: "node-1", AutomountServiceAccountToken: pointer(false),
			Containers: []corev1.Container{{Name: "web", Image: "web"}},
		},
	})
	return changeStatus(t, w.host, pod, func(pod *corev1.Pod) {
		pod.Status.Phase = corev1.PodRunning
		pod.Status.PodIP, pod.Status.PodIPs = address, []corev1.PodIP{{IP: address}}
	})
}

func testEndpointSlices(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "slices")
	virtualService := create(t, w.virtual, newService("slices", "db", "10.96.20.1", withoutSelector))
	virtualSlice := create(t, w.virtual, newSlice("slices", "db-1", "db", "198.51.100.7", "10.244.0.70"))
	hostKey := client.ObjectKey{Namespace: hostNamespace, Name: "db-1"}
	await(t, w.host, hostKey, &discoveryv1.EndpointSlice{}, names("198.51.100.7"))
	w.awaitEvent(t, "slices", "db-1", endpointslice.ReasonAddressNotAllowed)

	pod := w.hostPod(t, hostNamespace, "own", "10.244.0.70", w.ownerLabels("slices"))
	await(t, w.host, hostKey, &discoveryv1.EndpointSlice{}, names("198.51.100.7", "10.244.0.70"))
	changeStatus(t, w.host, pod, func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodFailed })
	await(t, w.host, hostKey, &discoveryv1.EndpointSlice{}, names("198.51.100.7"))

	change(t, w.virtual, virtualSlice, func(slice *discoveryv1.EndpointSlice) { slice.Endpoints[0].Addresses = []string{"198.51.100.8"} })
	hostSlice := await(t, w.host, hostKey, &discoveryv1.EndpointSlice{}, names("198.51.100.8"))
	change(t, w.host, hostSlice, func(slice *discoveryv1.EndpointSlice) { slice.Endpoints = nil })
	await(t, w.host, hostKey, &discoveryv1.EndpointSlice{}, names("198.51.100.8"))

	change(t, w.virtual, virtualService, func(service *corev1.Service) { service.Spec.Selector = map[string]string{"app": "db"} })
	awaitGone(t, w.host, hostKey, &discoveryv1.EndpointSlice{})
	change(t, w.virtual, virtualService, withoutSelector)
	await(t, w.host, hostKey, &discoveryv1.EndpointSlice{}, names("198.51.100.8"))
	remove(t, w.virtual, virtualSlice)
	awaitGone(t, w.host, hostKey, &discoveryv1.EndpointSlice{})
}

// testEndpointSliceAttacks: a tenant tries to get its Services to traffic of others.
func testEndpointSliceAttacks(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "attack")
	create(t, w.host, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "victim"}})
	w.hostPod(t, "victim", "victim", "10.244.0.66", nil)
	create(t, w.virtual, newService("attack", "spy", "10.96.21.1", withoutSelector))
	targets := map[string]string{
		"pod": "10.244.0.66", "unused-pod": "10.244.0.99", "node": "203.0.113.5", "api-server": serviceAddress,
	}
	for target, address := range targets {
		create(t, w.virtual, newSlice("attack", target, "spy", address))
		w.awaitEvent(t, "attack", target, endpointslice.ReasonAddressNotAllowed)
		await(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: target}, &discoveryv1.EndpointSlice{}, names())
	}

	fqdn := newSlice("attack", "fqdn", "spy", "victim.victim.svc.cluster.local")
	fqdn.AddressType = discoveryv1.AddressTypeFQDN
	create(t, w.virtual, fqdn)
	w.awaitEvent(t, "attack", "fqdn", engine.ReasonNotSupported)
	never(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "fqdn"}, &discoveryv1.EndpointSlice{})

	// A host Service of the host's own, by whose name the tenant wants to give it endpoints.
	create(t, w.host, newService(hostNamespace, "vault", "10.96.21.2", withoutSelector))
	create(t, w.virtual, newService("attack", "vault", "10.96.21.3", withoutSelector))
	create(t, w.virtual, newSlice("attack", "vault-1", "vault", "198.51.100.66"))
	w.awaitEvent(t, "attack", "vault", engine.ReasonNameTaken)
	never(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "vault-1"}, &discoveryv1.EndpointSlice{})

	// A slice of the host's controller, whose labels are those of our Service, must outlive that the tenant has no such slice.
	create(t, w.virtual, newService("attack", "web", "10.96.21.4"))
	own := map[string]string{"app": "web"}
	for key, value := range w.ownerLabels("attack") {
		own[key] = value
	}
	w.hostPod(t, hostNamespace, "web", "10.244.0.77", own)
	managed := &discoveryv1.EndpointSliceList{}
	eventually(t, "slice of the host's controller", func() error {
		err := w.host.List(t.Context(), managed, client.InNamespace(hostNamespace), client.MatchingLabels{discoveryv1.LabelServiceName: "web"})
		if err != nil {
			return err
		}
		return expect(len(managed.Items) == 1, "%d slices", len(managed.Items))
	})
	stolen := newSlice("attack", managed.Items[0].Name, "spy", "198.51.100.67")
	create(t, w.virtual, stolen)
	w.awaitEvent(t, "attack", stolen.Name, engine.ReasonNameTaken)
	after := &discoveryv1.EndpointSlice{}
	if err := w.host.Get(t.Context(), client.ObjectKeyFromObject(&managed.Items[0]), after); err != nil || after.UID != managed.Items[0].UID {
		t.Errorf("the slice of the host's controller was taken: %v, %+v", err, after)
	}
}
