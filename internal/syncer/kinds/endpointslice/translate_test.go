package endpointslice

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func pointer[T any](value T) *T { return &value }

func TestPodVouchesOnlyForItsOwnAddress(t *testing.T) {
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		pod := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.244.0.9"}, {IP: "fd00:1:0::9"}}}}
		change(pod)
		return pod
	}
	cases := map[string]struct {
		pod  *corev1.Pod
		want []string
	}{
		"running":      {pod(func(*corev1.Pod) {}), []string{"10.244.0.9", "fd00:1::9"}},
		"host network": {pod(func(pod *corev1.Pod) { pod.Spec.HostNetwork = true }), nil},
		"succeeded":    {pod(func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodSucceeded }), nil},
		"failed":       {pod(func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodFailed }), nil},
		"no address":   {pod(func(pod *corev1.Pod) { pod.Status.PodIPs = nil }), nil},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, podAddresses(test.pod)); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTranslate(t *testing.T) {
	virtualSlice := &discoveryv1.EndpointSlice{
		Endpoints: []discoveryv1.Endpoint{
			{
				Addresses:  []string{"198.51.100.7", "10.244.0.66"},
				Conditions: discoveryv1.EndpointConditions{Ready: pointer(true), Serving: pointer(true), Terminating: pointer(false)},
				Hostname:   pointer("db-0"), NodeName: pointer("node-1"), Zone: pointer("zone-1"),
				TargetRef:          &corev1.ObjectReference{Kind: "Pod", Namespace: "kube-system", Name: "etcd"},
				Hints:              &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "zone-1"}}},
				DeprecatedTopology: map[string]string{"kubernetes.io/hostname": "node-1"},
			},
			{Addresses: []string{"not-an-address"}},
		},
		Ports: []discoveryv1.EndpointPort{{Name: pointer("sql"), Port: pointer(int32(5432)), Protocol: pointer(corev1.ProtocolTCP), AppProtocol: pointer("sql")}},
	}
	got := translate(virtualSlice, func(address netip.Addr) bool { return address != netip.MustParseAddr("10.244.0.66") })
	want := translation{
		endpoints: []discoveryv1.Endpoint{{
			Addresses:  []string{"198.51.100.7"},
			Conditions: virtualSlice.Endpoints[0].Conditions,
			Hostname:   pointer("db-0"),
		}},
		ports:   virtualSlice.Ports,
		refused: []string{"10.244.0.66", "not-an-address"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(translation{})); diff != "" {
		t.Errorf("translation (-want +got):\n%s", diff)
	}
}

func TestLabelsOfControllersStayInTheTenant(t *testing.T) {
	virtualSlice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{
		discoveryv1.LabelServiceName: "db", discoveryv1.LabelManagedBy: controllerName, discoveryv1.LabelSkipMirror: "true",
		corev1.IsHeadlessService: "", "team": "data",
	}}}
	if diff := cmp.Diff(map[string]string{"team": "data"}, withoutControllers(virtualSlice.Labels)); diff != "" {
		t.Errorf("labels that are copied (-want +got):\n%s", diff)
	}
	want := map[string]string{discoveryv1.LabelServiceName: "db", discoveryv1.LabelManagedBy: managedBy, corev1.IsHeadlessService: ""}
	if diff := cmp.Diff(want, hostLabels(virtualSlice)); diff != "" {
		t.Errorf("labels that are set (-want +got):\n%s", diff)
	}
}
