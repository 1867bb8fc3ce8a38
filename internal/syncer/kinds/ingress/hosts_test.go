package ingress

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

func TestClaims(t *testing.T) {
	if diff := cmp.Diff([]string{"a.b.test", "*.b.test", "*.test"}, claims("a.b.test")); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

// hostCache is a cache of Ingresses with the index of host names.
type hostCache struct {
	client.Reader
	ingresses []networkingv1.Ingress
}

func (c hostCache) List(_ context.Context, into client.ObjectList, options ...client.ListOption) error {
	asked := client.ListOptions{}
	asked.ApplyOptions(options)
	value, _ := asked.FieldSelector.RequiresExactMatch(indexHost)
	list := into.(*networkingv1.IngressList)
	for _, ingress := range c.ingresses {
		for _, host := range indexedHosts(&ingress) {
			if host == value {
				list.Items = append(list.Items, ingress)
			}
		}
	}
	return nil
}

func TestIsTaken(t *testing.T) {
	const tenant = types.UID("tenant")
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(namespace, uid string, seconds int, labels map[string]string, hosts ...string) networkingv1.Ingress {
		ingress := networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "web", UID: types.UID(uid), Labels: labels, CreationTimestamp: metav1.NewTime(begin.Add(time.Duration(seconds) * time.Second)),
		}}
		for _, host := range hosts {
			ingress.Spec.Rules = append(ingress.Spec.Rules, ruleOf(host))
		}
		return ingress
	}
	own := func(uid string, seconds int, hosts ...string) networkingv1.Ingress {
		return at("vc-x7k2p5q4-web", uid, seconds, map[string]string{mapping.LabelUID: string(tenant), mapping.LabelTenantNamespace: "web"}, hosts...)
	}
	other := func(uid string, seconds int, hosts ...string) networkingv1.Ingress {
		return at("vc-abcdefgh-web", uid, seconds, map[string]string{mapping.LabelUID: "other", mapping.LabelTenantNamespace: "web"}, hosts...)
	}
	forged := at("vc-abcdefgh-web", "f", 0, map[string]string{mapping.LabelUID: string(tenant), mapping.LabelTenantNamespace: "web"}, "a.test")
	mine := func(ingress networkingv1.Ingress) *networkingv1.Ingress { return &ingress }
	cases := map[string]struct {
		reason string
		own    *networkingv1.Ingress
		others []networkingv1.Ingress
		want   bool
	}{
		"free":                 {"nobody has it", nil, nil, false},
		"another name":         {"a name is a whole name", nil, []networkingv1.Ingress{other("o", 0, "b.a.test", "test")}, false},
		"another tenant's":     {"who has it has it", nil, []networkingv1.Ingress{other("o", 9, "a.test")}, true},
		"the host's":           {"the host's own Ingresses count", nil, []networkingv1.Ingress{at("shop", "o", 9, nil, "a.test")}, true},
		"the host's wildcard":  {"a wildcard has all names under it", nil, []networkingv1.Ingress{at("shop", "o", 9, nil, "*.test")}, true},
		"own, other namespace": {"one tenant may share its names", nil, []networkingv1.Ingress{own("m", 0, "a.test")}, false},
		"forged":               {"labels in another's namespace prove nothing", nil, []networkingv1.Ingress{forged}, true},
		"older object, new name": {
			"an old Ingress does not take a name from a younger one that has it", mine(own("m", 0, "b.test")), []networkingv1.Ingress{other("o", 9, "a.test")}, true,
		},
		"both, own older":    {"of two that took it at once the older keeps it", mine(own("m", 0, "a.test")), []networkingv1.Ingress{other("o", 9, "a.test")}, false},
		"both, own younger":  {"and the younger lets go", mine(own("m", 9, "a.test")), []networkingv1.Ingress{other("o", 0, "a.test")}, true},
		"same moment, first": {"the UID decides", mine(own("a", 0, "a.test")), []networkingv1.Ingress{other("b", 0, "a.test")}, false},
		"same moment, host":  {"the tenant's does not give way to the host's own", mine(own("b", 0, "a.test")), []networkingv1.Ingress{at("shop", "a", 0, nil, "a.test")}, false},
		"same moment, last":  {"for both in the same way", mine(own("b", 0, "a.test")), []networkingv1.Ingress{other("a", 0, "a.test")}, true},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			scope := &engine.Scope{Tenant: tenants.Tenant{ID: "x7k2p5q4", UID: tenant}, HostCache: hostCache{ingresses: test.others}}
			got, err := isTaken(t.Context(), scope, test.own, "a.test")
			if err != nil || got != test.want {
				t.Errorf("%s: taken %v, %v", test.reason, got, err)
			}
		})
	}
}
