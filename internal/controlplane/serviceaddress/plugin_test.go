package serviceaddress_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/kubeapiserver/options"

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor/reservation"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/serviceaddress"
)

// host is a Reserver that allocates like a host: the same Service gets the same answer.
type host struct {
	asked []reservation.Request
	kept  map[string]corev1.ServiceSpec
	err   error
}

func (h *host) Reserve(_ context.Context, r *reservation.Request) (*reservation.Response, error) {
	h.asked = append(h.asked, *r)
	if h.err != nil {
		return nil, h.err
	}
	key := r.Service.Namespace + "/" + r.Service.Name
	kept, ok := h.kept[key]
	if !ok {
		kept = corev1.ServiceSpec{ClusterIP: "172.20.0.7", ClusterIPs: []string{"172.20.0.7"}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}}
	}
	kept.Ports = slices.Clone(r.Service.Spec.Ports)
	for i := range kept.Ports {
		if kept.Ports[i].NodePort == 0 {
			kept.Ports[i].NodePort = 31000 + int32(i)
		}
	}
	kept.HealthCheckNodePort = 32000
	if !r.DryRun {
		if h.kept == nil {
			h.kept = map[string]corev1.ServiceSpec{}
		}
		h.kept[key] = kept
	}
	return &reservation.Response{Spec: kept}, nil
}

func service(change ...func(*core.Service)) *core.Service {
	s := &core.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "shop"},
		Spec: core.ServiceSpec{
			Type:  core.ServiceTypeClusterIP,
			Ports: []core.ServicePort{{Name: "http", Protocol: core.ProtocolTCP, Port: 80}},
		},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func ofType(t core.ServiceType) func(*core.Service) {
	return func(s *core.Service) { s.Spec.Type = t }
}

func withIP(ip string) func(*core.Service) {
	return func(s *core.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = ip, []string{ip} }
}

func withNodePort(port int32) func(*core.Service) {
	return func(s *core.Service) { s.Spec.Ports[0].NodePort = port }
}

func admit(t *testing.T, h *host, service, old *core.Service, dryRun bool) error {
	t.Helper()
	operation, before := admission.Create, runtime.Object(nil)
	if old != nil {
		operation, before = admission.Update, old
	}
	a := admission.NewAttributesRecord(service, before, corev1.SchemeGroupVersion.WithKind("Service"), service.Namespace, service.Name,
		corev1.SchemeGroupVersion.WithResource("services"), "", operation, nil, dryRun, nil)
	return serviceaddress.New(h).Admit(t.Context(), a, nil)
}

// Trap i: upstream's order is one slice for all API servers of the process.
func TestOrderIsACopyAfterTheMutatingWebhooks(t *testing.T) {
	before := slices.Clone(options.AllOrderedPlugins)
	order, err := serviceaddress.Order(options.AllOrderedPlugins)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.Index(order, serviceaddress.PluginName)
	if at < 1 || order[at-1] != "MutatingAdmissionWebhook" || order[at+1] != "ValidatingAdmissionPolicy" {
		t.Errorf("order is %v", order)
	}
	if diff := cmp.Diff(before, options.AllOrderedPlugins); diff != "" {
		t.Errorf("upstream's order changed: %s", diff)
	}
	if _, err := serviceaddress.Order([]string{"ResourceQuota"}); err == nil {
		t.Error("an order without the mutating webhooks was accepted")
	}
}

// Trap ii: admission runs inside retry loops, and again when a webhook asks for reinvocation.
func TestAdmitTwiceGivesTheSame(t *testing.T) {
	h := &host{}
	s := service(ofType(core.ServiceTypeNodePort))
	if err := admit(t, h, s, nil, false); err != nil {
		t.Fatal(err)
	}
	once := s.DeepCopy()
	if err := admit(t, h, s, nil, false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(once, s); diff != "" {
		t.Errorf("the second call changed the Service: %s", diff)
	}
	if s.Spec.ClusterIP != "172.20.0.7" || s.Spec.Ports[0].NodePort != 31000 {
		t.Errorf("addresses were not written: %+v", s.Spec)
	}
}

// Trap iii: the API server chooses the name only after admission.
func TestGenerateName(t *testing.T) {
	h := &host{}
	s := service(func(s *core.Service) { s.Name, s.GenerateName = "", "shop-" })
	if err := admit(t, h, s, nil, false); err != nil {
		t.Fatal(err)
	}
	if len(s.Name) != len("shop-")+5 || s.GenerateName != "shop-" {
		t.Errorf("name %q, generateName %q", s.Name, s.GenerateName)
	}
	if len(h.asked) != 1 || h.asked[0].Service.Name != s.Name || h.asked[0].Service.Namespace != "web" {
		t.Errorf("asked for %+v", h.asked)
	}
	if err := admit(t, h, s, nil, false); err != nil || h.asked[1].Service.Name != s.Name {
		t.Errorf("the second call chose another name: %+v, %v", h.asked, err)
	}
}

// Trap iv: a request can be denied after the reservation, so what is known to fail must not reserve, dry run must say
// so, and errors of the host reach the user.
func TestWhatDoesNotReserve(t *testing.T) {
	cases := map[string]struct {
		service *core.Service
		asks    int
	}{
		"a ClusterIP asks":           {service(), 1},
		"headless":                   {service(withIP(core.ClusterIPNone)), 0},
		"ExternalName":               {service(ofType(core.ServiceTypeExternalName)), 0},
		"an invalid name":            {service(func(s *core.Service) { s.Name = "Not_A_Name" }), 0},
		"no ports":                   {service(func(s *core.Service) { s.Spec.Ports = nil }), 0},
		"default/kubernetes":         {service(func(s *core.Service) { s.Namespace, s.Name = "default", "kubernetes" }), 0},
		"kubernetes of another name": {service(func(s *core.Service) { s.Namespace, s.Name = "web", "kubernetes" }), 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := &host{}
			if err := admit(t, h, c.service, nil, false); err != nil {
				t.Fatal(err)
			}
			if len(h.asked) != c.asks {
				t.Errorf("asked %d times, want %d", len(h.asked), c.asks)
			}
		})
	}
}

func TestDryRunIsPassedOn(t *testing.T) {
	h := &host{}
	if err := admit(t, h, service(), nil, true); err != nil {
		t.Fatal(err)
	}
	if len(h.asked) != 1 || !h.asked[0].DryRun {
		t.Errorf("asked %+v", h.asked)
	}
}

func TestErrorOfTheHostReachesTheUser(t *testing.T) {
	refused := apierrors.NewForbidden(corev1.Resource("services"), "shop", errors.New("quota of the account"))
	if err := admit(t, &host{err: refused}, service(), nil, false); !apierrors.IsForbidden(err) {
		t.Errorf("got %v", err)
	}
}

// Trap v: values that were allocated stay through "kubectl replace" and through changes of the type, both ways.
func TestUpdate(t *testing.T) {
	nodePort := service(ofType(core.ServiceTypeNodePort), withIP("172.20.0.7"), withNodePort(30080))
	cases := map[string]struct {
		old, new *core.Service
		asks     int
		ip       string
		port     int32
	}{
		"replace of the manifest": {nodePort, service(ofType(core.ServiceTypeNodePort)), 0, "172.20.0.7", 30080},
		"replace with another port number": {nodePort, service(ofType(core.ServiceTypeNodePort), func(s *core.Service) {
			s.Spec.Ports[0].Port = 8080
		}), 0, "172.20.0.7", 30080},
		"node port chosen by hand": {nodePort, service(ofType(core.ServiceTypeNodePort), withNodePort(30090)), 1, "172.20.0.7", 30090},
		"a second port": {nodePort, service(ofType(core.ServiceTypeNodePort), func(s *core.Service) {
			s.Spec.Ports = append(s.Spec.Ports, core.ServicePort{Name: "https", Protocol: core.ProtocolTCP, Port: 443})
		}), 1, "172.20.0.7", 30080},
		"ClusterIP to NodePort":     {service(withIP("172.20.0.7")), service(ofType(core.ServiceTypeNodePort)), 1, "172.20.0.7", 31000},
		"NodePort to ClusterIP":     {nodePort, service(), 0, "172.20.0.7", 0},
		"NodePort to ExternalName":  {nodePort, service(ofType(core.ServiceTypeExternalName)), 0, "", 0},
		"ExternalName to ClusterIP": {service(ofType(core.ServiceTypeExternalName)), service(), 1, "172.20.0.7", 0},
		"labels only":               {service(withIP("172.20.0.7")), service(withIP("172.20.0.7")), 0, "172.20.0.7", 0},
		"headless stays headless":   {service(withIP(core.ClusterIPNone)), service(withIP(core.ClusterIPNone)), 0, core.ClusterIPNone, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := &host{kept: map[string]corev1.ServiceSpec{"web/shop": {ClusterIP: "172.20.0.7", ClusterIPs: []string{"172.20.0.7"}}}}
			if err := admit(t, h, c.new, c.old, false); err != nil {
				t.Fatal(err)
			}
			if len(h.asked) != c.asks {
				t.Errorf("asked %d times, want %d", len(h.asked), c.asks)
			}
			if c.new.Spec.ClusterIP != c.ip || c.new.Spec.Ports[0].NodePort != c.port {
				t.Errorf("got %q and %d, want %q and %d", c.new.Spec.ClusterIP, c.new.Spec.Ports[0].NodePort, c.ip, c.port)
			}
		})
	}
}

// Trap vi: the mapped namespace may not exist yet, so a request must hold all the door needs to make it, and a door
// that breaks the protocol must not spoil the Service.
func TestRequestNamesTheNamespace(t *testing.T) {
	h := &host{}
	s := service(func(s *core.Service) { s.Namespace = "" })
	a := admission.NewAttributesRecord(s, nil, corev1.SchemeGroupVersion.WithKind("Service"), "web", s.Name,
		corev1.SchemeGroupVersion.WithResource("services"), "", admission.Create, nil, false, nil)
	if err := serviceaddress.New(h).Admit(t.Context(), a, nil); err != nil {
		t.Fatal(err)
	}
	if got := h.asked[0].Service; got.Namespace != "web" || got.Name != "shop" || got.Spec.Ports[0].Port != 80 {
		t.Errorf("asked for %+v", got)
	}
}

func TestOtherResourcesPass(t *testing.T) {
	h := &host{}
	for _, subresource := range []string{"status", "proxy"} {
		a := admission.NewAttributesRecord(service(), service(), corev1.SchemeGroupVersion.WithKind("Service"), "web", "shop",
			corev1.SchemeGroupVersion.WithResource("services"), subresource, admission.Update, nil, false, nil)
		if err := serviceaddress.New(h).Admit(t.Context(), a, nil); err != nil || len(h.asked) > 0 {
			t.Errorf("%s: asked %v, %v", subresource, h.asked, err)
		}
	}
}
