package ingress

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

func path(text, service string) networkingv1.HTTPIngressPath {
	return networkingv1.HTTPIngressPath{
		Path: text, PathType: new(networkingv1.PathTypePrefix),
		Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: service, Port: networkingv1.ServiceBackendPort{Name: "http"}}},
	}
}

func ruleOf(host string, paths ...networkingv1.HTTPIngressPath) networkingv1.IngressRule {
	rule := networkingv1.IngressRule{Host: host}
	if len(paths) > 0 {
		rule.HTTP = &networkingv1.HTTPIngressRuleValue{Paths: paths}
	}
	return rule
}

func newTranslation() *translation {
	return &translation{
		isTaken: func(host string) bool { return strings.HasPrefix(host, "taken.") },
		backend: func(service string) *engine.Refusal {
			if service == "external" {
				return &engine.Refusal{Reason: engine.ReasonNotSupported, Message: "is external"}
			}
			return nil
		},
		hasSecret: func(secret string) bool { return secret == "cert" },
	}
}

func TestTranslate(t *testing.T) {
	toBucket := networkingv1.HTTPIngressPath{Path: "/bucket", PathType: new(networkingv1.PathTypePrefix)}
	cases := map[string]struct {
		virtual networkingv1.IngressSpec
		want    networkingv1.IngressSpec // without rules: nothing
		reason  string
		told    string // part of the message
	}{
		"all of it": {
			networkingv1.IngressSpec{
				IngressClassName: new("web"), Rules: []networkingv1.IngressRule{ruleOf("a.test", path("/", "web"), path("/api/*", "api"))},
				TLS: []networkingv1.IngressTLS{{Hosts: []string{"a.test"}, SecretName: "cert"}},
			},
			networkingv1.IngressSpec{
				IngressClassName: new("web"), Rules: []networkingv1.IngressRule{ruleOf("a.test", path("/", "web"), path("/api/*", "api"))},
				TLS: []networkingv1.IngressTLS{{Hosts: []string{"a.test"}, SecretName: "cert"}},
			},
			"", "",
		},
		"default backend": {
			networkingv1.IngressSpec{DefaultBackend: new(path("/", "web").Backend)},
			networkingv1.IngressSpec{},
			engine.ReasonNotSupported, "spec.defaultBackend",
		},
		"no host":  {networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("", path("/", "web"))}}, networkingv1.IngressSpec{}, engine.ReasonNotSupported, "spec.rules[0]: a rule without host"},
		"wildcard": {networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("*.a.test", path("/", "web"))}}, networkingv1.IngressSpec{}, engine.ReasonNotSupported, `"*.a.test"`},
		"taken": {
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("taken.test", path("/", "web")), ruleOf("b.test", path("/", "web"))}},
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("b.test", path("/", "web"))}},
			ReasonHostTaken, `spec.rules[0]: the host "taken.test"`,
		},
		"a name is kept without paths": {
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("a.test", path("/", "external"))}},
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("a.test")}},
			engine.ReasonNotSupported, `spec.rules[0].http.paths[0]: Service "external" is external`,
		},
		"other resources": {
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("a.test", toBucket, path("/", "web"))}},
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("a.test", path("/", "web"))}},
			engine.ReasonNotSupported, "must be a Service",
		},
		"certificate for the name of another": {
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("a.test", path("/", "web"))}, TLS: []networkingv1.IngressTLS{{Hosts: []string{"taken.test"}, SecretName: "cert"}}},
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("a.test", path("/", "web"))}},
			engine.ReasonNotSupported, `spec.tls[0]: the host "taken.test" is not that of a rule`,
		},
		"certificate for the name of a rule that is taken": {
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("a.test", path("/", "web")), ruleOf("taken.test", path("/", "web"))}, TLS: []networkingv1.IngressTLS{{Hosts: []string{"taken.test", "a.test"}, SecretName: "cert"}}},
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("a.test", path("/", "web"))}, TLS: []networkingv1.IngressTLS{{Hosts: []string{"a.test"}, SecretName: "cert"}}},
			ReasonHostTaken, "spec.tls[0]",
		},
		"certificate for all names": {
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("a.test"), ruleOf("a.test"), ruleOf("b.test")}, TLS: []networkingv1.IngressTLS{{SecretName: "cert"}}},
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("a.test"), ruleOf("a.test"), ruleOf("b.test")}, TLS: []networkingv1.IngressTLS{{Hosts: []string{"a.test", "b.test"}, SecretName: "cert"}}},
			"", "",
		},
		"no certificate": {
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("a.test")}, TLS: []networkingv1.IngressTLS{{Hosts: []string{"a.test"}, SecretName: "matryoshka-pod-x"}}},
			networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{ruleOf("a.test")}, TLS: []networkingv1.IngressTLS{{Hosts: []string{"a.test"}}}},
			engine.ReasonWaiting, `Secret "matryoshka-pod-x" does not exist`,
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			translation := newTranslation()
			got, ok := translation.translate(test.virtual)
			if ok != (len(test.want.Rules) > 0) {
				t.Fatalf("ok = %v, spec %+v", ok, got)
			}
			if diff := cmp.Diff(test.want, got); ok && diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
			refusal := translation.refusal()
			if (refusal == nil) != (test.reason == "") || refusal != nil && (refusal.Reason != test.reason || !strings.Contains(refusal.Message, test.told)) {
				t.Errorf("refusal %+v, want %s with %q", refusal, test.reason, test.told)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "/": true, "/api/v1": true, "/a-b_c.d~e": true, "/*": true, "/a%20b": true, "/@me": true,
		"/a;b": false, "/a{b}": false, "/a b": false, "/a\nb": false, `/a"b`: false, "/a'b": false, "/a#b": false, `/a\`: false,
		"/(a+)+": false, "/a$x": false, "/*/b": false, "api": false, "/<a>": false, "/a`b": false,
	} {
		translation := newTranslation()
		if got := translation.isUsable("path", path(text, "web")); got != want {
			t.Errorf("the path %q is usable: %v, want %v", text, got, want)
		}
	}
}

func TestAnnotations(t *testing.T) {
	host, refused := annotations(map[string]string{
		nginx + "proxy-body-size": "10m", nginx + "cors-allow-origin": "https://*.a.test, https://b.test", nginx + "rewrite-target": "/",
		nginx + "whitelist-source-range": "198.51.100.0/24,2001:db8::/32", traefik + "router.tls": "true", "operator.test/allowed": "any thing;",
		nginx + "configuration-snippet": "proxy_pass http://169.254.169.254;", nginx + "auth-url": "http://10.0.0.1", nginx + "auth-secret": "bank/users",
		nginx + "proxy-read-timeout": "60; deny all", nginx + "ssl-redirect": "true\nlua", nginx + "use-regex": "true", nginx + "rewrite-target-2": "/",
		nginx + "session-cookie-name":   "a$http_x",
		"kubernetes.io/ingress.class":   "internal",
		"cert-manager.io/issuer":        "host",
		traefik + "router.middlewares":  "bank-auth@kubernetescrd",
		"alb.ingress.kubernetes.io/x":   "y",
		"plain":                         "stays",
		"meta.helm.sh/release-name":     "stays",
		"kubectl.kubernetes.io/applied": "stays",
	}, []string{"operator.test/allowed"})
	wantHost := map[string]string{
		nginx + "proxy-body-size": "10m", nginx + "cors-allow-origin": "https://*.a.test, https://b.test", nginx + "rewrite-target": "/",
		nginx + "whitelist-source-range": "198.51.100.0/24,2001:db8::/32", traefik + "router.tls": "true", "operator.test/allowed": "any thing;",
	}
	if diff := cmp.Diff(wantHost, host); diff != "" {
		t.Errorf("annotations that go down (-want +got):\n%s", diff)
	}
	wantRefused := []string{
		"alb.ingress.kubernetes.io/x", "cert-manager.io/issuer", "kubernetes.io/ingress.class", nginx + "auth-secret", nginx + "auth-url",
		nginx + "configuration-snippet", nginx + "proxy-read-timeout", nginx + "rewrite-target-2", nginx + "session-cookie-name", nginx + "ssl-redirect", nginx + "use-regex",
		traefik + "router.middlewares",
	}
	if diff := cmp.Diff(wantRefused, refused); diff != "" {
		t.Errorf("annotations that are told (-want +got):\n%s", diff)
	}
}

// TestAnnotationsAreDocumented: the user's page lists what goes down.
func TestAnnotationsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/user/virtual-clusters.md")
	if err != nil {
		t.Fatal(err)
	}
	for key := range allowed {
		name := strings.TrimPrefix(key, nginx)
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/user/virtual-clusters.md does not name the annotation %s", key)
		}
	}
}
