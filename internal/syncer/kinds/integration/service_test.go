package integration

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/service"
)

func newService(namespace, name, clusterIP string, changes ...func(*corev1.Service)) *corev1.Service {
	made := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"team": "web"}},
		Spec: corev1.ServiceSpec{
			ClusterIP: clusterIP,
			Selector:  map[string]string{"app": "web"},
			Ports:     []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("web")}},
		},
	}
	for _, change := range changes {
		change(made)
	}
	return made
}

func exists(*corev1.Service) error { return nil }

func testReservation(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "reservation")
	reserve := func(name, clusterIP string, until time.Time) *corev1.Service {
		return create(t, w.host, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: hostNamespace, Name: name, Labels: w.ownerLabels("reservation"),
				Annotations: map[string]string{mapping.AnnotationReservedUntil: until.UTC().Format(time.RFC3339)},
			},
			Spec: corev1.ServiceSpec{ClusterIP: clusterIP, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
		})
	}
	reserved := reserve("web", "10.96.10.1", time.Now().Add(time.Hour))
	virtualService := create(t, w.virtual, newService("reservation", "web", "10.96.10.1"))
	hostService := await(t, w.host, client.ObjectKeyFromObject(reserved), &corev1.Service{}, func(hostService *corev1.Service) error {
		_, isReserved := hostService.Annotations[mapping.AnnotationReservedUntil]
		return expect(!isReserved && hostService.Spec.Selector["app"] == "web", "not taken over: %+v", hostService)
	})
	if hostService.UID != reserved.UID || hostService.Spec.ClusterIP != "10.96.10.1" {
		t.Errorf("the reservation was replaced: %+v", hostService)
	}
	if hostService.Annotations[mapping.AnnotationTenantUID] != string(virtualService.UID) || hostService.Labels["team"] != "web" {
		t.Errorf("metadata = %+v", hostService.ObjectMeta)
	}
	if diff := cmp.Diff(virtualService.Spec.Ports, hostService.Spec.Ports); diff != "" {
		t.Errorf("ports (-tenant +host):\n%s", diff)
	}

	kept := reserve("later", "10.96.10.2", time.Now().Add(time.Hour))
	expired := reserve("unused", "10.96.10.3", time.Now().Add(-time.Minute))
	awaitGone(t, w.host, client.ObjectKeyFromObject(expired), &corev1.Service{})
	await(t, w.host, client.ObjectKeyFromObject(kept), &corev1.Service{}, exists)
}

func testServiceRepair(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "repair")
	virtualService := create(t, w.virtual, newService("repair", "web", "10.96.11.1", func(service *corev1.Service) {
		service.Spec.Type = corev1.ServiceTypeLoadBalancer
		service.Spec.Ports[0].NodePort = 31101
		service.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24"}
		service.Spec.ExternalIPs = []string{"192.0.2.77"}
	}))
	hostKey := client.ObjectKey{Namespace: hostNamespace, Name: "web"}
	hostService := await(t, w.host, hostKey, &corev1.Service{}, exists)
	if len(hostService.Spec.ExternalIPs) != 0 || len(hostService.Spec.LoadBalancerSourceRanges) != 1 || hostService.Spec.Ports[0].NodePort != 31101 {
		t.Errorf("host spec = %+v", hostService.Spec)
	}
	w.awaitEvent(t, "repair", "web", engine.ReasonNotSupported)

	changeStatus(t, w.host, hostService, func(hostService *corev1.Service) {
		hostService.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.5"}}
	})
	await(t, w.virtual, client.ObjectKeyFromObject(virtualService), &corev1.Service{}, func(virtualService *corev1.Service) error {
		ingress := virtualService.Status.LoadBalancer.Ingress
		return expect(len(ingress) == 1 && ingress[0].IP == "192.0.2.5", "ingress = %+v", ingress)
	})

	change(t, w.host, hostService, func(hostService *corev1.Service) { hostService.Spec.Selector = map[string]string{"app": "evil"} })
	await(t, w.host, hostKey, &corev1.Service{}, func(hostService *corev1.Service) error {
		return expect(hostService.Spec.Selector["app"] == "web", "selector = %v", hostService.Spec.Selector)
	})

	// As long as something is refused, each look counts as one more failure, after which another comes ever later.
	change(t, w.virtual, virtualService, func(virtualService *corev1.Service) {
		virtualService.Spec.ExternalIPs, virtualService.Labels = nil, map[string]string{"refused": "nothing"}
	})
	await(t, w.host, hostKey, hostService, func(hostService *corev1.Service) error {
		return expect(hostService.Labels["refused"] == "nothing", "labels = %v", hostService.Labels)
	})
	remove(t, w.host, hostService)
	await(t, w.host, hostKey, &corev1.Service{}, func(again *corev1.Service) error {
		return expect(again.UID != hostService.UID && again.Spec.ClusterIP == "10.96.11.1" && again.Spec.Ports[0].NodePort == 31101, "spec = %+v", again.Spec)
	})

	remove(t, w.virtual, virtualService)
	awaitGone(t, w.host, hostKey, &corev1.Service{})
}

func testServiceTypes(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "types")
	virtualService := create(t, w.virtual, newService("types", "web", "10.96.12.1"))
	hostKey := client.ObjectKey{Namespace: hostNamespace, Name: "web"}
	await(t, w.host, hostKey, &corev1.Service{}, exists)
	steps := []struct {
		edit  func(*corev1.Service)
		check func(*corev1.Service) bool
	}{
		{
			func(service *corev1.Service) {
				service.Spec.Type = corev1.ServiceTypeNodePort
				service.Spec.Ports[0].NodePort = 31201
				service.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
			},
			func(service *corev1.Service) bool {
				return service.Spec.Type == corev1.ServiceTypeNodePort && service.Spec.Ports[0].NodePort == 31201 &&
					service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal && service.Spec.ClusterIP == "10.96.12.1"
			},
		},
		{
			func(service *corev1.Service) {
				service.Spec.Type = corev1.ServiceTypeExternalName
				service.Spec.ExternalName = "db.example.com"
				service.Spec.ClusterIP, service.Spec.ClusterIPs = "", nil
				service.Spec.Ports[0].NodePort = 0
				service.Spec.ExternalTrafficPolicy = ""
			},
			func(service *corev1.Service) bool {
				return service.Spec.Type == corev1.ServiceTypeExternalName && service.Spec.ExternalName == "db.example.com" && service.Spec.ClusterIP == ""
			},
		},
		{
			func(service *corev1.Service) {
				service.Spec.Type = corev1.ServiceTypeClusterIP
				service.Spec.ExternalName = ""
				service.Spec.ClusterIP = "10.96.12.2"
				service.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
			},
			func(service *corev1.Service) bool {
				return service.Spec.Type == corev1.ServiceTypeClusterIP && service.Spec.ClusterIP == "10.96.12.2" &&
					service.Spec.ExternalName == "" && service.Spec.SessionAffinity == corev1.ServiceAffinityClientIP
			},
		},
		{
			func(service *corev1.Service) {
				service.Spec.Selector = nil
				service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP})
				service.Labels = map[string]string{"other": "label"}
			},
			func(service *corev1.Service) bool {
				return len(service.Spec.Selector) == 0 && len(service.Spec.Ports) == 2 && service.Labels["team"] == "" && service.Labels["other"] == "label"
			},
		},
	}
	for i, step := range steps {
		change(t, w.virtual, virtualService, step.edit)
		await(t, w.host, hostKey, &corev1.Service{}, func(hostService *corev1.Service) error {
			return expect(step.check(hostService), "step %d: %+v %+v", i, hostService.Labels, hostService.Spec)
		})
	}

	create(t, w.virtual, newService("types", "headless", corev1.ClusterIPNone, func(service *corev1.Service) {
		service.Spec.PublishNotReadyAddresses = true
	}))
	await(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "headless"}, &corev1.Service{}, func(hostService *corev1.Service) error {
		return expect(hostService.Spec.ClusterIP == corev1.ClusterIPNone && hostService.Spec.PublishNotReadyAddresses, "%+v", hostService.Spec)
	})
	never(t, w.host, client.ObjectKey{Namespace: mapping.HostNamespace(w.tenant.ID, "default"), Name: "kubernetes"}, &corev1.Service{})
}

func testForeignService(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "foreign")
	theirs := create(t, w.host, newService(hostNamespace, "theirs", "10.96.13.1"))
	virtualService := create(t, w.virtual, newService("foreign", "theirs", "10.96.13.2"))
	w.awaitEvent(t, "foreign", "theirs", engine.ReasonNameTaken)
	create(t, w.virtual, newService("foreign", "matryoshka-dns", "10.96.13.3"))
	w.awaitEvent(t, "foreign", "matryoshka-dns", engine.ReasonNotSupported)
	remove(t, w.virtual, virtualService)
	err := throughout(t.Context(), settle, func() error {
		after := &corev1.Service{}
		if err := w.host.Get(t.Context(), client.ObjectKeyFromObject(theirs), after); err != nil {
			return err
		}
		diff := cmp.Diff(theirs, after)
		return expect(diff == "", "changed (-before +after):\n%s", diff)
	})
	if err != nil {
		t.Errorf("the host's own Service: %v", err)
	}
}

func testAddressTaken(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "taken")
	create(t, w.host, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "thief"}})
	thief := create(t, w.host, newService("thief", "thief", "10.96.14.1"))
	virtualService := create(t, w.virtual, newService("taken", "web", "10.96.14.1"))
	w.awaitEvent(t, "taken", "web", service.ReasonAddressTaken)
	condition := func(want metav1.ConditionStatus) {
		await(t, w.virtual, client.ObjectKeyFromObject(virtualService), &corev1.Service{}, func(virtualService *corev1.Service) error {
			found := meta.FindStatusCondition(virtualService.Status.Conditions, service.ConditionAddressAvailable)
			if found == nil {
				return errors.New("no condition")
			}
			return expect(found.Status == want, "condition = %+v", found)
		})
	}
	condition(metav1.ConditionFalse)
	never(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "web"}, &corev1.Service{})
	remove(t, w.host, thief)
	condition(metav1.ConditionTrue)
	await(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "web"}, &corev1.Service{}, exists)
}

func testServiceSuccessor(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "successor")
	hostKey := client.ObjectKey{Namespace: hostNamespace, Name: "web"}
	for _, clusterIP := range []string{"10.96.15.1", "10.96.15.2", "10.96.15.1", corev1.ClusterIPNone} {
		virtualService := create(t, w.virtual, newService("successor", "web", clusterIP))
		await(t, w.host, hostKey, &corev1.Service{}, func(hostService *corev1.Service) error {
			return expect(hostService.Annotations[mapping.AnnotationTenantUID] == string(virtualService.UID) && hostService.Spec.ClusterIP == clusterIP,
				"still the predecessor: %+v", hostService)
		})
		remove(t, w.virtual, virtualService)
	}
	awaitGone(t, w.host, hostKey, &corev1.Service{})
}
