package addressdoor_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

func TestServicesGetTheHostsAddresses(t *testing.T) {
	p := newPair(t)
	for name, test := range map[string]func(*testing.T, pair){
		"cluster address":            testClusterAddress,
		"node ports":                 testNodePorts,
		"load balancer":              testLoadBalancer,
		"generated name":             testGeneratedName,
		"explicit address":           testExplicitAddress,
		"node port taken":            testNodePortTaken,
		"foreign host service":       testForeign,
		"type changes":               testTypeChanges,
		"same manifest again":        testReplace,
		"deleted and created again":  testCreatedAgain,
		"created although it exists": testExists,
		"dry run":                    testDryRun,
		"all at once":                testConcurrent,
		"denied by the tenant":       testDenied,
	} {
		t.Run(name, func(t *testing.T) { test(t, p) })
	}
}

func testClusterAddress(t *testing.T, p pair) {
	made := p.create(t, newService("plain", nil))
	host := p.hostService(t, "plain")
	if made.Spec.ClusterIP == "" || made.Spec.ClusterIP != host.Spec.ClusterIP || !strings.HasPrefix(made.Spec.ClusterIP, "10.96.") {
		t.Errorf("tenant %q, host %q", made.Spec.ClusterIP, host.Spec.ClusterIP)
	}
	if host.Spec.Selector != nil || host.Annotations[mapping.AnnotationReservedUntil] == "" {
		t.Errorf("not inert: %+v", host)
	}
}

func testNodePorts(t *testing.T, p pair) {
	made := p.create(t, newService("nodeport", func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "https", Port: 443})
	}))
	host := p.hostService(t, "nodeport")
	for i := range made.Spec.Ports {
		if got, want := made.Spec.Ports[i].NodePort, host.Spec.Ports[i].NodePort; got == 0 || got != want {
			t.Errorf("port %d: tenant %d, host %d", i, got, want)
		}
	}
	p.takeOver(t, made)
	made.Spec.Ports = append(made.Spec.Ports, corev1.ServicePort{Name: "more", Port: 81})
	before := made.Spec.Ports[0].NodePort
	updated := p.update(t, made)
	if updated.Spec.Ports[0].NodePort != before || updated.Spec.Ports[2].NodePort == 0 {
		t.Errorf("after the update: %v", updated.Spec.Ports)
	}
	held := map[int32]bool{}
	for _, port := range p.hostService(t, "nodeport").Spec.Ports {
		held[port.NodePort] = true
	}
	if !held[updated.Spec.Ports[2].NodePort] {
		t.Error("the new node port is not held on the host")
	}
}

func testLoadBalancer(t *testing.T, p pair) {
	made := p.create(t, newService("balancer", func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}))
	host := p.hostService(t, "balancer")
	if host.Spec.Type != corev1.ServiceTypeNodePort {
		t.Errorf("a reservation of type %s acts", host.Spec.Type)
	}
	if made.Spec.Ports[0].NodePort == 0 || made.Spec.Ports[0].NodePort != host.Spec.Ports[0].NodePort {
		t.Errorf("tenant %v, host %v", made.Spec.Ports, host.Spec.Ports)
	}
	if made.Spec.HealthCheckNodePort == 0 || made.Spec.HealthCheckNodePort == made.Spec.Ports[0].NodePort {
		t.Errorf("the health check port is %d", made.Spec.HealthCheckNodePort)
	}
}

func testGeneratedName(t *testing.T, p pair) {
	made := p.create(t, newService("", func(s *corev1.Service) { s.GenerateName = "gen-" }))
	if host := p.hostService(t, made.Name); host.Spec.ClusterIP != made.Spec.ClusterIP {
		t.Errorf("tenant %q, host %q", made.Spec.ClusterIP, host.Spec.ClusterIP)
	}
}

func testExplicitAddress(t *testing.T, p pair) {
	asked := func(name, ip string) *corev1.Service {
		return newService(name, func(s *corev1.Service) { s.Spec.ClusterIP = ip })
	}
	if made := p.create(t, asked("explicit", "10.96.0.77")); p.hostService(t, "explicit").Spec.ClusterIP != "10.96.0.77" {
		t.Errorf("got %q", made.Spec.ClusterIP)
	}
	for name, ip := range map[string]string{"taken": "10.96.0.77", "out-of-range": "10.200.0.1"} {
		_, err := p.virtual.CoreV1().Services("default").Create(t.Context(), asked(name, ip), metav1.CreateOptions{})
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "clusterIP") || strings.Contains(err.Error(), hostNamespace) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func testNodePortTaken(t *testing.T, p pair) {
	asked := func(name string) *corev1.Service {
		return newService(name, func(s *corev1.Service) {
			s.Spec.Type = corev1.ServiceTypeNodePort
			s.Spec.Ports[0].NodePort = 30077
		})
	}
	p.create(t, asked("first"))
	_, err := p.virtual.CoreV1().Services("default").Create(t.Context(), asked("second"), metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "nodePort") {
		t.Errorf("got %v", err)
	}
}

func testForeign(t *testing.T, p pair) {
	foreign := newService("of-the-host", nil)
	foreign.Namespace = hostNamespace
	if _, err := p.host.CoreV1().Services(hostNamespace).Create(t.Context(), foreign, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := p.virtual.CoreV1().Services("default").Create(t.Context(), newService("of-the-host", nil), metav1.CreateOptions{})
	if !apierrors.IsConflict(err) {
		t.Errorf("got %v", err)
	}
	if p.hostService(t, "of-the-host").Labels[mapping.LabelID] != "" {
		t.Error("the host's own Service was adopted")
	}
}

func testTypeChanges(t *testing.T, p pair) {
	s := p.create(t, newService("changing", nil))
	p.takeOver(t, s)
	address := s.Spec.ClusterIP

	s.Spec.Type = corev1.ServiceTypeNodePort
	s = p.update(t, s)
	if host := p.hostService(t, "changing"); s.Spec.Ports[0].NodePort == 0 || host.Spec.Ports[0].NodePort != s.Spec.Ports[0].NodePort || s.Spec.ClusterIP != address {
		t.Fatalf("to NodePort: tenant %+v, host %+v", s.Spec, host.Spec)
	}
	s.Spec.Type = corev1.ServiceTypeClusterIP
	s.Spec.Ports[0].NodePort = 0
	if s = p.update(t, s); s.Spec.ClusterIP != address || s.Spec.Ports[0].NodePort != 0 {
		t.Fatalf("back to ClusterIP: %+v", s.Spec)
	}
	s.Spec.Type, s.Spec.ExternalName = corev1.ServiceTypeExternalName, "example.org"
	s.Spec.ClusterIP, s.Spec.ClusterIPs, s.Spec.IPFamilies, s.Spec.IPFamilyPolicy = "", nil, nil, nil
	s.Spec.InternalTrafficPolicy = nil
	if s = p.update(t, s); s.Spec.ClusterIP != "" {
		t.Fatalf("to ExternalName: %+v", s.Spec)
	}
	// The sync follows.
	patch := `{"spec":{"type":"ExternalName","externalName":"example.org","clusterIP":null,"clusterIPs":null,"ipFamilies":null,"ipFamilyPolicy":null}}`
	if _, err := p.host.CoreV1().Services(hostNamespace).Patch(t.Context(), "changing", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Spec.Type, s.Spec.ExternalName = corev1.ServiceTypeClusterIP, ""
	s = p.update(t, s)
	if host := p.hostService(t, "changing"); s.Spec.ClusterIP == "" || host.Spec.ClusterIP != s.Spec.ClusterIP || host.Spec.Type != corev1.ServiceTypeClusterIP {
		t.Errorf("from ExternalName: tenant %+v, host %+v", s.Spec, host.Spec)
	}
}

// testReplace sends the manifest without addresses again, as "kubectl replace" does.
func testReplace(t *testing.T, p pair) {
	manifest := newService("replaced", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort })
	made := p.create(t, manifest.DeepCopy())
	p.takeOver(t, made)
	replaced := p.update(t, manifest)
	if replaced.Spec.ClusterIP != made.Spec.ClusterIP || replaced.Spec.Ports[0].NodePort != made.Spec.Ports[0].NodePort {
		t.Errorf("before %+v, after %+v", made.Spec, replaced.Spec)
	}
}

func testCreatedAgain(t *testing.T, p pair) {
	first := p.create(t, newService("again", nil))
	p.takeOver(t, first)
	before := p.hostService(t, "again")
	if err := p.virtual.CoreV1().Services("default").Delete(t.Context(), "again", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// The sync has not removed the copy. The new Service must not get what is about to go.
	second := p.create(t, newService("again", func(s *corev1.Service) { s.UID = first.UID }))
	after := p.hostService(t, "again")
	if after.UID == before.UID || after.Spec.ClusterIP != second.Spec.ClusterIP {
		t.Errorf("host Service %s and then %s, address %s for %s", before.UID, after.UID, after.Spec.ClusterIP, second.Spec.ClusterIP)
	}
}

func testExists(t *testing.T, p pair) {
	made := p.create(t, newService("exists", nil))
	p.takeOver(t, made)
	before := p.hostService(t, "exists")
	p.create(t, newService("reserved-only", nil))
	for _, name := range []string{"exists", "reserved-only"} {
		_, err := p.virtual.CoreV1().Services("default").Create(t.Context(), newService(name, nil), metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := p.hostService(t, "exists"); after.UID != before.UID || after.ResourceVersion != before.ResourceVersion {
		t.Error("a create that failed changed the copy in use")
	}
}

func testDryRun(t *testing.T, p pair) {
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	made, err := p.virtual.CoreV1().Services("default").Create(t.Context(), newService("dry", nil), dryRun)
	if err != nil || made.Spec.ClusterIP == "" {
		t.Errorf("got %v %v", made, err)
	}
	if _, err := p.host.CoreV1().Services(hostNamespace).Get(t.Context(), "dry", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a dry run left a host Service: %v", err)
	}
	// In a namespace that the host does not have yet, the control namespace is asked.
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "fresh"}}
	if _, err := p.virtual.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	fresh := newService("dry", func(s *corev1.Service) { s.Namespace = "fresh" })
	made, err = p.virtual.CoreV1().Services("fresh").Create(t.Context(), fresh, dryRun)
	if err != nil || made.Spec.ClusterIP == "" {
		t.Errorf("got %v %v", made, err)
	}
	if _, err := p.host.CoreV1().Namespaces().Get(t.Context(), mapping.HostNamespace(tenantID, "fresh"), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a dry run made a namespace: %v", err)
	}
}

func testConcurrent(t *testing.T, p pair) {
	var running sync.WaitGroup
	for i := range 20 {
		running.Go(func() {
			// Ten names, each created twice at the same time: one of the two wins. The other may learn of the name
			// late, when it finds the address taken.
			_, err := p.virtual.CoreV1().Services("default").Create(t.Context(), newService(fmt.Sprintf("many-%d", i/2), nil), metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsInvalid(err) {
				t.Error(err)
			}
		})
	}
	running.Wait()
	for i := range 10 {
		name := fmt.Sprintf("many-%d", i)
		virtual, err := p.virtual.CoreV1().Services("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if host := p.hostService(t, name); host.Spec.ClusterIP != virtual.Spec.ClusterIP {
			t.Errorf("%s: tenant %s, host %s", name, virtual.Spec.ClusterIP, host.Spec.ClusterIP)
		}
	}
}

// testDenied leaves a reservation behind, and asks again for the same name with another address.
func testDenied(t *testing.T, p pair) {
	denied := newService("denied", func(s *corev1.Service) { s.Spec.SessionAffinity = "Sometimes" })
	if _, err := p.virtual.CoreV1().Services("default").Create(t.Context(), denied, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Fatalf("got %v", err)
	}
	if left := p.hostService(t, "denied"); left.Annotations[mapping.AnnotationReservedUntil] == "" {
		t.Error("what is left cannot be collected")
	}
	made := p.create(t, newService("denied", func(s *corev1.Service) { s.Spec.ClusterIP = "10.96.0.78" }))
	if host := p.hostService(t, "denied"); made.Spec.ClusterIP != "10.96.0.78" || host.Spec.ClusterIP != "10.96.0.78" {
		t.Errorf("tenant %s, host %s", made.Spec.ClusterIP, host.Spec.ClusterIP)
	}
}
