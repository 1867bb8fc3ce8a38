package agent

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

func TestNodeAddress(t *testing.T) {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"pool": "shared"}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeHostName, Address: "a"}, {Type: corev1.NodeInternalIP, Address: "192.0.2.1"},
		}},
	}
	find := nodeAddress(fake.NewClientset(node))
	cases := map[string]struct {
		node     string
		selector map[string]string
		want     string
	}{
		"EveryNode":    {node: "a", want: "192.0.2.1"},
		"Selected":     {node: "a", selector: map[string]string{"pool": "shared"}, want: "192.0.2.1"},
		"NotSelected":  {node: "a", selector: map[string]string{"pool": "of-others"}},
		"NotOnTheHost": {node: "b"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tenant := tenants.Tenant{Spec: clusterv1alpha1.VirtualClusterSpec{Nodes: clusterv1alpha1.Nodes{Selector: tc.selector}}}
			got, ok, err := find(t.Context(), tenant, tc.node)
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.want || ok != (tc.want != "") {
				t.Errorf("got %q, %t; want %q", got, ok, tc.want)
			}
		})
	}
}
