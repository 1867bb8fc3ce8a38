package integration

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/ingress"
)

// ingressClass makes a class of the host and waits for its mirror.
func (w *world) ingressClass(t *testing.T, name string) *networkingv1.IngressClass {
	t.Helper()
	class := create(t, w.host, &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.IngressClassSpec{Controller: "example.com/controller"}})
	await(t, w.virtual, client.ObjectKey{Name: name}, &networkingv1.IngressClass{}, func(*networkingv1.IngressClass) error { return nil })
	return class
}

func newIngress(namespace, name, class, host, service string) *networkingv1.Ingress {
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: networkingv1.IngressSpec{IngressClassName: &class, Rules: []networkingv1.IngressRule{{
			Host: host,
			IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
				Path: "/", PathType: new(networkingv1.PathTypePrefix),
				Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: service, Port: networkingv1.ServiceBackendPort{Number: 80}}},
			}}}},
		}}},
	}
}

// serves checks that an Ingress has one rule that leads to its Service, or keeps only the name.
func serves(host string, leads bool) func(*networkingv1.Ingress) error {
	return func(ingress *networkingv1.Ingress) error {
		rules := ingress.Spec.Rules
		return expect(len(rules) == 1 && rules[0].Host == host && (rules[0].HTTP != nil) == leads, "rules are %+v", rules)
	}
}

func testIngress(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "ingress")
	class := w.ingressClass(t, "ingress-web")
	virtualIngress := newIngress("ingress", "web", class.Name, "web.ingress.test", "web")
	virtualIngress.Annotations = map[string]string{"nginx.ingress.kubernetes.io/proxy-body-size": "8m", "nginx.ingress.kubernetes.io/server-snippet": "x"}
	virtualIngress.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "cert"}}
	create(t, w.virtual, virtualIngress)
	hostKey := client.ObjectKey{Namespace: hostNamespace, Name: "web"}
	await(t, w.host, hostKey, &networkingv1.Ingress{}, serves("web.ingress.test", false))
	w.awaitEvent(t, "ingress", "web", engine.ReasonWaiting)

	service := create(t, w.virtual, newService("ingress", "web", "10.96.50.1"))
	hostIngress := await(t, w.host, hostKey, &networkingv1.Ingress{}, serves("web.ingress.test", true))
	if len(hostIngress.Spec.TLS) != 1 || hostIngress.Spec.TLS[0].SecretName != "" {
		t.Errorf("certificates are %+v", hostIngress.Spec.TLS)
	}
	if hostIngress.Annotations["nginx.ingress.kubernetes.io/proxy-body-size"] != "8m" || hostIngress.Annotations["nginx.ingress.kubernetes.io/server-snippet"] != "" {
		t.Errorf("annotations are %v", hostIngress.Annotations)
	}

	secret := create(t, w.virtual, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ingress", Name: "cert"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: []byte("certificate"), corev1.TLSPrivateKeyKey: []byte("key")},
	})
	has := func(key string) func(*corev1.Secret) error {
		return func(secret *corev1.Secret) error {
			return expect(string(secret.Data[corev1.TLSPrivateKeyKey]) == key && secret.Type == corev1.SecretTypeTLS, "type %s, key %q", secret.Type, secret.Data[corev1.TLSPrivateKeyKey])
		}
	}
	secretKey := client.ObjectKey{Namespace: hostNamespace, Name: "cert"}
	await(t, w.host, secretKey, &corev1.Secret{}, has("key"))
	await(t, w.host, hostKey, &networkingv1.Ingress{}, func(hostIngress *networkingv1.Ingress) error {
		tls := hostIngress.Spec.TLS
		return expect(len(tls) == 1 && tls[0].SecretName == "cert" && len(tls[0].Hosts) == 1, "certificates are %+v", tls)
	})
	change(t, w.virtual, secret, func(secret *corev1.Secret) { secret.Data[corev1.TLSPrivateKeyKey] = []byte("renewed") })
	await(t, w.host, secretKey, &corev1.Secret{}, has("renewed"))
	remove(t, w.virtual, secret)
	await(t, w.host, hostKey, &networkingv1.Ingress{}, func(hostIngress *networkingv1.Ingress) error {
		return expect(hostIngress.Spec.TLS[0].SecretName == "", "certificates are %+v", hostIngress.Spec.TLS)
	})

	changeStatus(t, w.host, hostIngress, func(hostIngress *networkingv1.Ingress) {
		hostIngress.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "203.0.113.80"}}
	})
	hasAddress := func(address string) func(*networkingv1.Ingress) error {
		return func(ingress *networkingv1.Ingress) error {
			have := ingress.Status.LoadBalancer.Ingress
			return expect(address == "" && len(have) == 0 || len(have) == 1 && have[0].IP == address, "status is %+v", have)
		}
	}
	await(t, w.virtual, client.ObjectKeyFromObject(virtualIngress), &networkingv1.Ingress{}, hasAddress("203.0.113.80"))

	// A Service that becomes a name is no backend any more.
	change(t, w.virtual, service, func(service *corev1.Service) {
		service.Spec.Type, service.Spec.ExternalName = corev1.ServiceTypeExternalName, "victim.bank.svc.cluster.local"
		service.Spec.ClusterIP, service.Spec.ClusterIPs, service.Spec.Selector = "", nil, nil
	})
	await(t, w.host, hostKey, &networkingv1.Ingress{}, serves("web.ingress.test", false))

	// The class is not offered any more, then is again.
	change(t, w.host, class, func(class *networkingv1.IngressClass) { class.Labels = map[string]string{mapping.LabelOffer: "false"} })
	awaitGone(t, w.host, hostKey, &networkingv1.Ingress{})
	await(t, w.virtual, client.ObjectKeyFromObject(virtualIngress), &networkingv1.Ingress{}, hasAddress(""))
	change(t, w.host, class, func(class *networkingv1.IngressClass) { class.Labels = nil })
	await(t, w.host, hostKey, &networkingv1.Ingress{}, serves("web.ingress.test", false))
	remove(t, w.virtual, virtualIngress)
	awaitGone(t, w.host, hostKey, &networkingv1.Ingress{})
	awaitGone(t, w.host, secretKey, &corev1.Secret{})
}

// testIngressHosts: a name belongs to who has had it first, and goes on to who waits for it.
func testIngressHosts(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "hosts")
	class := w.ingressClass(t, "hosts-web")
	create(t, w.virtual, newService("hosts", "web", "10.96.51.1"))
	create(t, w.host, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	first := create(t, w.host, newIngress("shop", "first", class.Name, "shop.hosts.test", "shop"))
	w.seen(t, first) // Of two that come at once the tenant's keeps the name.
	later := create(t, w.virtual, newIngress("hosts", "later", class.Name, "shop.hosts.test", "web"))
	w.awaitEvent(t, "hosts", "later", ingress.ReasonHostTaken)
	hostKey := client.ObjectKey{Namespace: hostNamespace, Name: "later"}
	never(t, w.host, hostKey, &networkingv1.Ingress{})
	remove(t, w.host, first)
	await(t, w.host, hostKey, &networkingv1.Ingress{}, serves("shop.hosts.test", true))

	// Somebody else's younger Ingress changes nothing, and an old Ingress does not take a new name from others.
	create(t, w.host, newIngress("shop", "second", class.Name, "shop.hosts.test", "shop"))
	w.seen(t, create(t, w.host, newIngress("shop", "third", class.Name, "bank.hosts.test", "shop")))
	change(t, w.virtual, later, func(later *networkingv1.Ingress) {
		later.Spec.Rules = append(later.Spec.Rules, newIngress("", "", "", "bank.hosts.test", "web").Spec.Rules...)
		later.Labels = map[string]string{"step": "2"}
	})
	await(t, w.host, hostKey, &networkingv1.Ingress{}, func(hostIngress *networkingv1.Ingress) error {
		if hostIngress.Labels["step"] != "2" {
			return expect(false, "labels are %v", hostIngress.Labels)
		}
		return serves("shop.hosts.test", true)(hostIngress)
	})
}

// testIngressAttacks: what a tenant cannot make the host's ingress controllers do.
func testIngressAttacks(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "ingress-attacks")
	class := w.ingressClass(t, "attacks-web")
	create(t, w.virtual, newService("ingress-attacks", "web", "10.96.52.1"))
	create(t, w.virtual, newService("ingress-attacks", "vault", "10.96.52.2"))
	create(t, w.host, newService(hostNamespace, "foreign", "10.96.52.3"))
	create(t, w.virtual, newService("ingress-attacks", "foreign", "10.96.52.4"))
	create(t, w.host, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "wildcard-cert"}})
	create(t, w.virtual, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ingress-attacks", Name: "wildcard-cert"}})
	create(t, w.virtual, &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "attacks-own"}, Spec: networkingv1.IngressClassSpec{Controller: "example.com/own"}})

	withTLS := newIngress("ingress-attacks", "stolen-cert", class.Name, "cert.attacks.test", "web")
	withTLS.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{"cert.attacks.test"}, SecretName: "wildcard-cert"}}
	reserved := newIngress("ingress-attacks", mapping.ReservedPrefix+"x", class.Name, "reserved.attacks.test", "web")
	noClass := newIngress("ingress-attacks", "no-class", "", "none.attacks.test", "web")
	noClass.Spec.IngressClassName = nil
	for _, attack := range []struct {
		ingress *networkingv1.Ingress
		reason  string
	}{
		{newIngress("ingress-attacks", "no-host", class.Name, "", "web"), engine.ReasonNotSupported},
		{newIngress("ingress-attacks", "wildcard", class.Name, "*.attacks.test", "web"), engine.ReasonNotSupported},
		{newIngress("ingress-attacks", "unknown-class", "attacks-none", "unknown.attacks.test", "web"), engine.ReasonWaiting},
		{noClass, engine.ReasonNotSupported},
		{withTLS, engine.ReasonNameTaken},
		{reserved, engine.ReasonNotSupported},
	} {
		create(t, w.virtual, attack.ingress)
		w.awaitEvent(t, "ingress-attacks", attack.ingress.Name, attack.reason)
		never(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: attack.ingress.Name}, &networkingv1.Ingress{})
	}
	create(t, w.virtual, newIngress("ingress-attacks", "own", "attacks-own", "own.attacks.test", "web"))
	never(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "own"}, &networkingv1.Ingress{})

	// A Service of the host's own, of the same name as the tenant's.
	create(t, w.virtual, newIngress("ingress-attacks", "foreign", class.Name, "foreign.attacks.test", "foreign"))
	await(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "foreign"}, &networkingv1.Ingress{}, serves("foreign.attacks.test", false))
}
