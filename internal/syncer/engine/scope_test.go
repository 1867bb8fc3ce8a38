package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

func testScope() *Scope {
	spaces := newSpaces()
	for _, namespace := range []string{"shop", strings.Repeat("n", 63)} {
		spaces.set(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: mapping.HostNamespace("x7k2p2q4", namespace), Labels: map[string]string{
			mapping.LabelKind: mapping.KindMapped, mapping.LabelID: "x7k2p2q4", mapping.LabelTenantNamespace: namespace,
		}}})
	}
	return &Scope{Tenant: tenants.Tenant{ID: "x7k2p2q4", UID: "u-1", Namespace: "demo", Name: "hello"}, hostSpaces: spaces}
}

func TestRedact(t *testing.T) {
	long := mapping.HostNamespace("x7k2p2q4", strings.Repeat("n", 63))
	for name, tc := range map[string]struct{ text, want string }{
		"Nothing":      {"all is well", "all is well"},
		"Namespace":    {`pods "web" is forbidden in vc-x7k2p2q4-shop: no`, `pods "web" is forbidden in shop: no`},
		"Pod":          {"pod=web-0_vc-x7k2p2q4-shop(1)", "pod=web-0_shop(1)"},
		"Hashed":       {long + " and " + long, strings.Repeat("n", 63) + " and " + strings.Repeat("n", 63)},
		"NotSeenYet":   {"vc-x7k2p2q4-new.", "new."},
		"PrefixAlone":  {"at vc-x7k2p2q4-", "at "},
		"OtherTenants": {"vc-aaaaaaaa-shop", "vc-aaaaaaaa-shop"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, testScope().Redact(tc.text)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("vc-x7k2p2q4-vc-x7k2p2q4-shop")
	f.Fuzz(func(t *testing.T, text string) {
		if testScope().Redact(text); strings.Contains(testScope().Redact(text+" vc-x7k2p2q4-shop "), " vc-x7k2p2q4-shop ") {
			t.Errorf("a host name is left in %q", text)
		}
	})
}

func TestTenantKey(t *testing.T) {
	scope := testScope()
	owned := func(change func(*corev1.Pod)) *corev1.Pod {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "vc-x7k2p2q4-shop", Name: "web", Labels: scope.OwnerLabels("shop")}}
		change(pod)
		return pod
	}
	for name, tc := range map[string]struct {
		reason string
		object *corev1.Pod
		want   Key
		wantOK bool
	}{
		"Copy":    {"a copy", owned(func(*corev1.Pod) {}), Key{"shop", "web"}, true},
		"Renamed": {"the tenant's name is in the annotation", owned(func(p *corev1.Pod) { p.Annotations = map[string]string{mapping.AnnotationTenantName: "x"} }), Key{"shop", "x"}, true},
		"Foreign": {"another tenant's", owned(func(p *corev1.Pod) { p.Labels[mapping.LabelUID] = "u-2" }), Key{}, false},
		"Control": {"the control plane's own pod", owned(func(p *corev1.Pod) {
			p.Namespace = "vcp-x7k2p2q4"
			delete(p.Labels, mapping.LabelTenantNamespace)
		}), Key{}, false},
		"Moved": {"labels copied by hand into another namespace", owned(func(p *corev1.Pod) { p.Namespace = "kube-system" }), Key{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := scope.TenantKey(tc.object)
			if ok != tc.wantOK || got != tc.want {
				t.Errorf("%s: got %v %v, want %v %v", tc.reason, got, ok, tc.want, tc.wantOK)
			}
		})
	}
}

func TestHostMetaKeepsTheTenantFromTheHost(t *testing.T) {
	scope := testScope()
	virtual := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "kube-root-ca.crt", UID: "v-1", Finalizers: []string{"x.test/y"},
		Labels: map[string]string{"app": "web", mapping.LabelUID: "u-2", "sidecar.istio.io/inject": "true"},
		Annotations: map[string]string{
			"prometheus.io/port": "80", "note": "n", "k8s.v1.cni.cncf.io/networks": "kube-system/host", mapping.AnnotationTenantUID: "forged",
		},
	}}
	got := scope.HostMeta(virtual)
	want := metav1.ObjectMeta{Namespace: "vc-x7k2p2q4-shop", Name: "matryoshka-kube-root-ca.crt", Labels: scope.OwnerLabels("shop"), Annotations: map[string]string{
		"prometheus.io/port": "80", mapping.AnnotationTenantUID: "v-1", mapping.AnnotationTenantName: "kube-root-ca.crt",
		mapping.AnnotationCopiedLabels: "app", mapping.AnnotationCopiedAnnotations: "prometheus.io/port",
	}}
	want.Labels["app"] = "web"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	also := scope.HostMeta(virtual, "note", mapping.AnnotationHostUID)
	if also.Annotations["note"] != "n" || also.Annotations[mapping.AnnotationTenantUID] != "v-1" {
		t.Errorf("with what the kind names beside: %v", also.Annotations)
	}
}

func TestSetHostMetaRemovesWhatTheTenantRemoved(t *testing.T) {
	scope := testScope()
	virtual := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "web", UID: "v-1", Labels: map[string]string{"old": "1", "kept": "1"}, Annotations: map[string]string{"prometheus.io/port": "80"},
	}}
	host := &corev1.Service{ObjectMeta: scope.HostMeta(virtual)}
	host.Labels["of-the-host"], host.Annotations["of-the-host"] = "yes", "yes"
	virtual.Labels, virtual.Annotations = map[string]string{"kept": "2", "new": "1"}, nil
	SetHostMeta(host, scope.HostMeta(virtual))
	if _, ok := host.Labels["old"]; ok || host.Labels["kept"] != "2" || host.Labels["new"] != "1" || host.Labels["of-the-host"] != "yes" {
		t.Errorf("labels: %v", host.Labels)
	}
	wantAnnotations := map[string]string{"of-the-host": "yes", mapping.AnnotationTenantUID: "v-1", mapping.AnnotationCopiedLabels: "kept,new"}
	if diff := cmp.Diff(wantAnnotations, host.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	before := host.DeepCopy()
	SetHostMeta(host, scope.HostMeta(virtual))
	if diff := cmp.Diff(before, host); diff != "" {
		t.Errorf("the second time changed something:\n%s", diff)
	}
}

func TestWhatTheTenantIsTold(t *testing.T) {
	resource := schema.GroupResource{Resource: "pods"}
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"Refusal":         {Refuse(ReasonNotSupported, "no"), ReasonNotSupported},
		"HostForbids":     {&HostError{Err: apierrors.NewForbidden(resource, "web", errors.New("quota"))}, ReasonHostRejected},
		"HostUnreachable": {&HostError{Err: errors.New("connection refused")}, ""},
		"TenantForbids":   {apierrors.NewForbidden(resource, "web", errors.New("webhook")), ""},
		"Joined":          {errors.Join(errors.New("x"), Refuse(ReasonWaiting, "wait")), ReasonWaiting},
	} {
		t.Run(name, func(t *testing.T) {
			refusal, ok := told(tc.err)
			if ok != (tc.want != "") || ok && refusal.Reason != tc.want {
				t.Errorf("told %v %v, want %q", refusal, ok, tc.want)
			}
		})
	}
}

func TestMapperKnowsResourcesAndScopes(t *testing.T) {
	mapper := NewMapper()
	for kind, want := range map[string]string{"Pod": "pods", "Endpoints": "endpoints", "Namespace": "namespaces", "Node": "nodes"} {
		mapping, err := mapper.RESTMapping(schema.GroupKind{Kind: kind}, "v1")
		if err != nil || mapping.Resource.Resource != want {
			t.Errorf("%s: got %v (%v), want %s", kind, mapping, err, want)
		}
	}
	for kind, want := range map[string]string{"NetworkPolicy": "networkpolicies"} {
		mapping, err := mapper.RESTMapping(schema.GroupKind{Group: "networking.k8s.io", Kind: kind}, "v1")
		if err != nil || mapping.Resource.Resource != want {
			t.Errorf("%s: got %v (%v), want %s", kind, mapping, err, want)
		}
	}
}
