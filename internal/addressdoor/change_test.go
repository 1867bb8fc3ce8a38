package addressdoor

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

func service(serviceType corev1.ServiceType, change func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", Annotations: map[string]string{}},
		Spec:       corev1.ServiceSpec{Type: serviceType, Ports: []corev1.ServicePort{port("http", 80, 0)}},
	}
	if serviceType == corev1.ServiceTypeExternalName {
		s.Spec.Ports, s.Spec.ExternalName = nil, "example.org"
	}
	if change != nil {
		change(s)
	}
	return s
}

func TestReservedShape(t *testing.T) {
	cases := map[string]struct {
		service  *corev1.Service
		wantType corev1.ServiceType
		want     []corev1.ServicePort
	}{
		"cluster address": {
			service:  service(corev1.ServiceTypeClusterIP, nil),
			wantType: corev1.ServiceTypeClusterIP, want: []corev1.ServicePort{port("http", 80, 0)},
		},
		"node port": {
			service:  service(corev1.ServiceTypeNodePort, func(s *corev1.Service) { s.Spec.Ports[0].NodePort = 30080 }),
			wantType: corev1.ServiceTypeNodePort, want: []corev1.ServicePort{port("http", 80, 30080)},
		},
		"load balancer": {
			service:  service(corev1.ServiceTypeLoadBalancer, nil),
			wantType: corev1.ServiceTypeNodePort, want: []corev1.ServicePort{port("http", 80, 0)},
		},
		"load balancer without node ports": {
			service:  service(corev1.ServiceTypeLoadBalancer, func(s *corev1.Service) { s.Spec.AllocateLoadBalancerNodePorts = new(bool) }),
			wantType: corev1.ServiceTypeClusterIP, want: []corev1.ServicePort{port("http", 80, 0)},
		},
		"load balancer with one of two node ports": {
			service: service(corev1.ServiceTypeLoadBalancer, func(s *corev1.Service) {
				s.Spec.AllocateLoadBalancerNodePorts = new(bool)
				s.Spec.Ports = append(s.Spec.Ports, port("https", 443, 30443))
			}),
			wantType: corev1.ServiceTypeNodePort, want: []corev1.ServicePort{port("https", 443, 30443)},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			gotType, got := reservedShape(tc.service)
			if gotType != tc.wantType {
				t.Errorf("got type %s, want %s", gotType, tc.wantType)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReservationIsInert(t *testing.T) {
	asked := service(corev1.ServiceTypeLoadBalancer, func(s *corev1.Service) {
		s.Spec.Selector = map[string]string{"app": "web"}
		s.Spec.ExternalIPs = []string{"192.0.2.1"}
		s.Spec.LoadBalancerIP = "192.0.2.2"
		s.Labels = map[string]string{mapping.LabelKind: "space"}
		s.Annotations["service.beta.kubernetes.io/load-balancer"] = "public"
	})
	got := newReservation(tenantA, asked, time.Unix(1000, 0))
	if got.Spec.Selector != nil || got.Spec.ExternalIPs != nil || got.Spec.LoadBalancerIP != "" || got.Spec.Type == corev1.ServiceTypeLoadBalancer {
		t.Errorf("the reservation would act: %+v", got.Spec)
	}
	if _, ok := got.Labels[mapping.LabelKind]; ok || len(got.Annotations) != 1 {
		t.Errorf("the tenant's metadata reached the host: %v %v", got.Labels, got.Annotations)
	}
	if !belongsTo(got, tenantA, "default") || belongsTo(got, tenantB, "default") || belongsTo(got, tenantA, "other") {
		t.Error("the reservation is not exactly that tenant's")
	}
}

func TestChangeFor(t *testing.T) {
	now := time.Unix(10_000, 0)
	fresh, old := formatTime(now.Add(reservationTime)), formatTime(now.Add(time.Second))
	dual := corev1.IPFamilyPolicyPreferDualStack
	single := corev1.IPFamilyPolicySingleStack
	addressed := func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = "10.96.0.5", []string{"10.96.0.5"} }
	cases := map[string]struct {
		host, asked *corev1.Service
		want        string // of annotations and spec as JSON
	}{
		"nothing": {
			host: service(corev1.ServiceTypeClusterIP, addressed), asked: service(corev1.ServiceTypeClusterIP, nil),
			want: `{"annotations":{},"spec":{}}`,
		},
		"a fresh reservation": {
			host: service(corev1.ServiceTypeClusterIP, func(s *corev1.Service) {
				s.Annotations[mapping.AnnotationReservedUntil] = fresh
			}),
			asked: service(corev1.ServiceTypeClusterIP, nil),
			want:  `{"annotations":{},"spec":{}}`,
		},
		"an old reservation": {
			host: service(corev1.ServiceTypeClusterIP, func(s *corev1.Service) {
				s.Annotations[mapping.AnnotationReservedUntil] = old
			}),
			asked: service(corev1.ServiceTypeClusterIP, nil),
			want:  `{"annotations":{"matryoshka.dev/reserved-until":"` + fresh + `"},"spec":{}}`,
		},
		"to node port": {
			host: service(corev1.ServiceTypeClusterIP, addressed), asked: service(corev1.ServiceTypeNodePort, nil),
			want: `{"annotations":{},"spec":{"ports":[{"name":"http","protocol":"TCP","port":80,"targetPort":0}],"type":"NodePort"}}`,
		},
		"back from node port": {
			host: service(corev1.ServiceTypeNodePort, addressed), asked: service(corev1.ServiceTypeClusterIP, nil),
			want: `{"annotations":{},"spec":{}}`,
		},
		"a load balancer is never made less": {
			host: service(corev1.ServiceTypeLoadBalancer, func(s *corev1.Service) { s.Spec.Ports[0].NodePort = 30080 }),
			asked: service(corev1.ServiceTypeLoadBalancer, func(s *corev1.Service) {
				s.Spec.Ports = append(s.Spec.Ports, port("https", 443, 0))
			}),
			want: `{"annotations":{},"spec":{"ports":[{"name":"http","protocol":"TCP","port":80,"targetPort":0,"nodePort":30080},` +
				`{"name":"https","protocol":"TCP","port":443,"targetPort":0}]}}`,
		},
		"from external name, with an address": {
			host:  service(corev1.ServiceTypeExternalName, nil),
			asked: service(corev1.ServiceTypeClusterIP, addressed),
			want: `{"annotations":{},"spec":{"clusterIP":"10.96.0.5","clusterIPs":["10.96.0.5"],"externalName":null,` +
				`"ports":[{"name":"http","protocol":"TCP","port":80,"targetPort":0}],"type":"ClusterIP"}}`,
		},
		"to two families": {
			host: service(corev1.ServiceTypeClusterIP, func(s *corev1.Service) { addressed(s); s.Spec.IPFamilyPolicy = &single }),
			asked: service(corev1.ServiceTypeClusterIP, func(s *corev1.Service) {
				addressed(s)
				s.Spec.IPFamilyPolicy = &dual
				s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
			}),
			want: `{"annotations":{},"spec":{"ipFamilies":["IPv4","IPv6"],"ipFamilyPolicy":"PreferDualStack"}}`,
		},
		"a host with one family is asked once": {
			host:  service(corev1.ServiceTypeClusterIP, func(s *corev1.Service) { addressed(s); s.Spec.IPFamilyPolicy = &dual }),
			asked: service(corev1.ServiceTypeClusterIP, func(s *corev1.Service) { s.Spec.IPFamilyPolicy = &dual }),
			want:  `{"annotations":{},"spec":{}}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			needed := changeFor(tc.host, tc.asked, now)
			got, err := json.Marshal(map[string]any{"annotations": needed.annotations, "spec": needed.spec})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnswerFrom(t *testing.T) {
	single := corev1.IPFamilyPolicySingleStack
	require := corev1.IPFamilyPolicyRequireDualStack
	hostService := service(corev1.ServiceTypeNodePort, func(s *corev1.Service) {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = "10.96.0.5", []string{"10.96.0.5", "fd00::5"}
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
		s.Spec.IPFamilyPolicy = &require
		s.Spec.Ports = []corev1.ServicePort{port("https", 443, 30443), port("http", 80, 30080)}
		s.Spec.Selector = map[string]string{"not": "told"}
	})
	cases := map[string]struct {
		asked *corev1.Service
		want  corev1.ServiceSpec
	}{
		"ports in the order asked": {
			asked: service(corev1.ServiceTypeNodePort, func(s *corev1.Service) {
				s.Spec.Ports = []corev1.ServicePort{port("http", 80, 0), port("https", 443, 0)}
			}),
			want: corev1.ServiceSpec{
				ClusterIP: "10.96.0.5", ClusterIPs: []string{"10.96.0.5", "fd00::5"},
				IPFamilies:     []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol},
				IPFamilyPolicy: &require,
				Ports:          []corev1.ServicePort{port("http", 80, 30080), port("https", 443, 30443)},
			},
		},
		"no node ports for a plain Service, and one family": {
			asked: service(corev1.ServiceTypeClusterIP, func(s *corev1.Service) { s.Spec.IPFamilyPolicy = &single }),
			want: corev1.ServiceSpec{
				ClusterIP: "10.96.0.5", ClusterIPs: []string{"10.96.0.5"},
				IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, IPFamilyPolicy: &single,
				Ports: []corev1.ServicePort{port("http", 80, 0)},
			},
		},
		"an address that the host has lost": {
			asked: service(corev1.ServiceTypeClusterIP, func(s *corev1.Service) {
				s.Spec.ClusterIP, s.Spec.ClusterIPs = "10.96.0.9", []string{"10.96.0.9"}
				s.Spec.IPFamilies, s.Spec.IPFamilyPolicy = []corev1.IPFamily{corev1.IPv4Protocol}, &single
			}),
			want: corev1.ServiceSpec{
				ClusterIP: "10.96.0.9", ClusterIPs: []string{"10.96.0.9"},
				IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, IPFamilyPolicy: &single,
				Ports: []corev1.ServicePort{port("http", 80, 0)},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, answerFrom(hostService, tc.asked).Spec); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
