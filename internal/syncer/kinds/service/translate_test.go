package service

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func pointer[T any](value T) *T { return &value }

func fullSpec() corev1.ServiceSpec {
	return corev1.ServiceSpec{
		Type:                          corev1.ServiceTypeLoadBalancer,
		Selector:                      map[string]string{"app": "web"},
		Ports:                         []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromString("web"), NodePort: 30080}},
		ClusterIP:                     "10.96.0.7",
		ClusterIPs:                    []string{"10.96.0.7"},
		IPFamilies:                    []corev1.IPFamily{corev1.IPv4Protocol},
		IPFamilyPolicy:                pointer(corev1.IPFamilyPolicySingleStack),
		SessionAffinity:               corev1.ServiceAffinityClientIP,
		SessionAffinityConfig:         &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: pointer(int32(60))}},
		ExternalTrafficPolicy:         corev1.ServiceExternalTrafficPolicyLocal,
		InternalTrafficPolicy:         pointer(corev1.ServiceInternalTrafficPolicyCluster),
		HealthCheckNodePort:           31000,
		PublishNotReadyAddresses:      true,
		AllocateLoadBalancerNodePorts: pointer(true),
		LoadBalancerClass:             pointer("example.com/lb"),
		LoadBalancerIP:                "192.0.2.1",
		LoadBalancerSourceRanges:      []string{"192.0.2.0/24"},
		TrafficDistribution:           pointer(corev1.ServiceTrafficDistributionPreferClose),
		ExternalIPs:                   []string{"192.0.2.9"},
		ExternalName:                  "left.over.example",
	}
}

func TestHostSpec(t *testing.T) {
	cases := map[string]struct {
		change func(virtual *corev1.ServiceSpec)
		want   func(host *corev1.ServiceSpec)
	}{
		"a load balancer keeps everything but external addresses": {
			change: func(*corev1.ServiceSpec) {},
			want: func(host *corev1.ServiceSpec) {
				host.ExternalIPs, host.ExternalName = nil, ""
			},
		},
		"a node port has nothing of a load balancer": {
			change: func(virtual *corev1.ServiceSpec) { virtual.Type = corev1.ServiceTypeNodePort },
			want: func(host *corev1.ServiceSpec) {
				host.Type = corev1.ServiceTypeNodePort
				host.ExternalIPs, host.ExternalName = nil, ""
				host.AllocateLoadBalancerNodePorts, host.LoadBalancerClass, host.LoadBalancerIP, host.LoadBalancerSourceRanges = nil, nil, "", nil
			},
		},
		"an empty type is a ClusterIP": {
			change: func(virtual *corev1.ServiceSpec) { virtual.Type = "" },
			want: func(host *corev1.ServiceSpec) {
				host.Type = corev1.ServiceTypeClusterIP
				host.ExternalIPs, host.ExternalName = nil, ""
				host.AllocateLoadBalancerNodePorts, host.LoadBalancerClass, host.LoadBalancerIP, host.LoadBalancerSourceRanges = nil, nil, "", nil
				host.ExternalTrafficPolicy, host.HealthCheckNodePort = "", 0
			},
		},
		"an external name has no address": {
			change: func(virtual *corev1.ServiceSpec) { virtual.Type = corev1.ServiceTypeExternalName },
			want: func(host *corev1.ServiceSpec) {
				*host = corev1.ServiceSpec{
					Type: corev1.ServiceTypeExternalName, ExternalName: host.ExternalName, Ports: host.Ports, Selector: host.Selector,
					SessionAffinity: host.SessionAffinity, SessionAffinityConfig: host.SessionAffinityConfig,
					PublishNotReadyAddresses: true, InternalTrafficPolicy: host.InternalTrafficPolicy, TrafficDistribution: host.TrafficDistribution,
				}
			},
		},
		"without selector there is none on the host": {
			change: func(virtual *corev1.ServiceSpec) { virtual.Selector = nil },
			want: func(host *corev1.ServiceSpec) {
				host.Selector, host.ExternalIPs, host.ExternalName = nil, nil, ""
			},
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			virtual, want := fullSpec(), fullSpec()
			test.change(&virtual)
			test.want(&want)
			if diff := cmp.Diff(want, hostSpec(&corev1.Service{Spec: virtual})); diff != "" {
				t.Errorf("host spec (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMergeSpecKeepsWhatTheHostAllocated(t *testing.T) {
	have := hostSpec(&corev1.Service{Spec: fullSpec()})
	virtual := fullSpec()
	virtual.ClusterIP, virtual.ClusterIPs, virtual.IPFamilies, virtual.IPFamilyPolicy = "", nil, nil, nil
	virtual.HealthCheckNodePort, virtual.Ports[0].NodePort = 0, 0
	if diff := cmp.Diff(have, mergeSpec(have, hostSpec(&corev1.Service{Spec: virtual}))); diff != "" {
		t.Errorf("a Service that leaves the addresses to the host must not differ from what the host has (-have +merged):\n%s", diff)
	}
}

func TestMergeSpecReleasesAddresses(t *testing.T) {
	have := hostSpec(&corev1.Service{Spec: fullSpec()})
	virtual := fullSpec()
	virtual.Type, virtual.ClusterIP, virtual.ClusterIPs = corev1.ServiceTypeExternalName, "", nil
	merged := mergeSpec(have, hostSpec(&corev1.Service{Spec: virtual}))
	if merged.ClusterIP != "" || merged.ClusterIPs != nil || merged.HealthCheckNodePort != 0 {
		t.Errorf("an ExternalName keeps addresses: %+v", merged)
	}
	virtual = fullSpec()
	virtual.Type, virtual.Ports[0].NodePort = corev1.ServiceTypeClusterIP, 0
	if merged := mergeSpec(have, hostSpec(&corev1.Service{Spec: virtual})); merged.Ports[0].NodePort != 0 {
		t.Errorf("a ClusterIP keeps the node port %d", merged.Ports[0].NodePort)
	}
}

func TestStatusFlowsUp(t *testing.T) {
	ingress := corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.1", IPMode: pointer(corev1.LoadBalancerIPModeVIP)}}}
	hostCondition := metav1.Condition{Type: "LoadBalancerPortsError", Status: metav1.ConditionTrue, Reason: "R", ObservedGeneration: 3, LastTransitionTime: metav1.Now()}
	hostService := &corev1.Service{Status: corev1.ServiceStatus{LoadBalancer: ingress, Conditions: []metav1.Condition{hostCondition}}}
	virtualService := &corev1.Service{Spec: fullSpec(), Status: corev1.ServiceStatus{Conditions: []metav1.Condition{{Type: "tenant.example/Own", Status: metav1.ConditionTrue}}}}

	got := virtualStatus(virtualService, hostService)
	if diff := cmp.Diff(ingress, got.LoadBalancer); diff != "" {
		t.Errorf("load balancer (-want +got):\n%s", diff)
	}
	if len(got.Conditions) != 2 || got.Conditions[1].ObservedGeneration != 0 {
		t.Errorf("conditions = %+v, want the tenant's own and the host's without its generation", got.Conditions)
	}
	virtualService.Status = got
	if again := virtualStatus(virtualService, hostService); !cmp.Equal(got, again) {
		t.Errorf("a second copy changes the status:\n%s", cmp.Diff(got, again))
	}
	virtualService.Spec.Type = corev1.ServiceTypeClusterIP
	if got := virtualStatus(virtualService, hostService); len(got.LoadBalancer.Ingress) != 0 {
		t.Errorf("a ClusterIP has the ingress %+v", got.LoadBalancer.Ingress)
	}
}

func TestAddressConditionIsTakenBack(t *testing.T) {
	virtualService := &corev1.Service{Spec: fullSpec()}
	virtualService.Status = addressTakenStatus(virtualService, "taken")
	got := virtualStatus(virtualService, &corev1.Service{})
	if len(got.Conditions) != 1 || got.Conditions[0].Status != metav1.ConditionTrue {
		t.Fatalf("conditions = %+v, want %s to be true again", got.Conditions, ConditionAddressAvailable)
	}
	if fresh := virtualStatus(&corev1.Service{}, &corev1.Service{}); len(fresh.Conditions) != 0 {
		t.Errorf("a Service that had no trouble gets the conditions %+v", fresh.Conditions)
	}
}
