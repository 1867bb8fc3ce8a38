package ingress

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// translation makes the host's form of one Ingress. Its functions tell what was found out about what the Ingress names.
type translation struct {
	// isTaken tells whether somebody else has a host name.
	isTaken func(host string) bool
	// backend tells why a Service cannot be a backend; nil means that it can.
	backend func(service string) *engine.Refusal
	// hasSecret tells whether the tenant's Secret is on the host.
	hasSecret func(secret string) bool

	// refused is what was left out, and why. reason is that of the event: the first that is not empty.
	refused []string
	reason  string
}

func (t *translation) refuse(reason, format string, values ...any) {
	t.refused = append(t.refused, fmt.Sprintf(format, values...))
	if t.reason == "" {
		t.reason = reason
	}
}

// translate is the spec of the host's Ingress; ok is false if it has no rule.
func (t *translation) translate(virtual networkingv1.IngressSpec) (host networkingv1.IngressSpec, ok bool) {
	if class := virtual.IngressClassName; class != nil {
		host.IngressClassName = new(*class)
	}
	if virtual.DefaultBackend != nil {
		t.refuse(engine.ReasonNotSupported, "spec.defaultBackend: it would answer for names of others; use a rule with a host and the path /")
	}
	for index, rule := range virtual.Rules {
		if translated, ok := t.rule(fmt.Sprintf("spec.rules[%d]", index), rule); ok {
			host.Rules = append(host.Rules, translated)
		}
	}
	for index, entry := range virtual.TLS {
		if translated, ok := t.tls(fmt.Sprintf("spec.tls[%d]", index), entry, host.Rules); ok {
			host.TLS = append(host.TLS, translated)
		}
	}
	return host, len(host.Rules) > 0
}

func (t *translation) rule(field string, virtual networkingv1.IngressRule) (host networkingv1.IngressRule, ok bool) {
	switch {
	case virtual.Host == "":
		t.refuse(engine.ReasonNotSupported, "%s: a rule without host would answer for names of others; name a host", field)
		return host, false
	case strings.HasPrefix(virtual.Host, wildcard):
		t.refuse(engine.ReasonNotSupported, "%s: the host %q would take all names under it from others; name each host", field, virtual.Host)
		return host, false
	case t.isTaken(virtual.Host):
		t.refuse(ReasonHostTaken, "%s: the host %q is used by somebody else on this cluster; choose another", field, virtual.Host)
		return host, false
	}
	host.Host = virtual.Host
	if virtual.HTTP == nil {
		return host, true
	}
	var paths []networkingv1.HTTPIngressPath
	for index, path := range virtual.HTTP.Paths {
		if t.isUsable(fmt.Sprintf("%s.http.paths[%d]", field, index), path) {
			paths = append(paths, *path.DeepCopy())
		}
	}
	if len(paths) > 0 {
		host.HTTP = &networkingv1.HTTPIngressRuleValue{Paths: paths}
	}
	return host, true
}

func (t *translation) isUsable(field string, path networkingv1.HTTPIngressPath) bool {
	if !aSafePath.MatchString(path.Path) {
		t.refuse(engine.ReasonNotSupported, "%s: the path %q has characters that ingress controllers may take for something else; leave them out", field, path.Path)
		return false
	}
	if path.Backend.Service == nil {
		t.refuse(engine.ReasonNotSupported, "%s: a backend must be a Service", field)
		return false
	}
	if refusal := t.backend(path.Backend.Service.Name); refusal != nil {
		t.refuse(refusal.Reason, "%s: Service %q %s", field, path.Backend.Service.Name, refusal.Message)
		return false
	}
	return true
}

// tls is the host's form of one entry. A certificate is for names of the rules only: controllers show a certificate to
// whoever asks for one of its names, whichever Ingress that name belongs to.
func (t *translation) tls(field string, virtual networkingv1.IngressTLS, rules []networkingv1.IngressRule) (host networkingv1.IngressTLS, ok bool) {
	for _, name := range virtual.Hosts {
		if !slices.ContainsFunc(rules, func(rule networkingv1.IngressRule) bool { return rule.Host == name }) {
			t.refuse(engine.ReasonNotSupported, "%s: the host %q is not that of a rule", field, name)
			continue
		}
		host.Hosts = append(host.Hosts, name)
	}
	if len(virtual.Hosts) == 0 {
		for _, rule := range rules {
			if !slices.Contains(host.Hosts, rule.Host) {
				host.Hosts = append(host.Hosts, rule.Host)
			}
		}
	}
	if len(host.Hosts) == 0 {
		return host, false
	}
	switch {
	case virtual.SecretName == "":
	case t.hasSecret(virtual.SecretName):
		host.SecretName = virtual.SecretName
	default:
		t.refuse(engine.ReasonWaiting, "%s: Secret %q does not exist", field, virtual.SecretName)
	}
	return host, true
}

// secretsOf are the Secrets of the certificates, each once.
func secretsOf(ingress *networkingv1.Ingress) []string {
	var names []string
	for _, entry := range ingress.Spec.TLS {
		if entry.SecretName != "" && !slices.Contains(names, entry.SecretName) {
			names = append(names, entry.SecretName)
		}
	}
	return names
}

// servicesOf are the Services of the backends, each once.
func servicesOf(ingress *networkingv1.Ingress) []string {
	var names []string
	for _, rule := range ingress.Spec.Rules {
		if rule.HTTP == nil {
			continue
		}
		for _, path := range rule.HTTP.Paths {
			if service := path.Backend.Service; service != nil && !slices.Contains(names, service.Name) {
				names = append(names, service.Name)
			}
		}
	}
	return names
}

// refusal is what the tenant is told; nil if nothing was left out.
func (t *translation) refusal() *engine.Refusal {
	if len(t.refused) == 0 {
		return nil
	}
	const shown = 5
	told := t.refused
	if len(told) > shown {
		told = append(told[:shown:shown], fmt.Sprintf("and %d more", len(t.refused)-shown))
	}
	return &engine.Refusal{Reason: t.reason, Message: "not served: " + strings.Join(told, "; ")}
}
