package ingress

import (
	"context"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// wildcard begins a host name that stands for all names under another one.
const wildcard = "*."

// claims are the host names by which somebody else would serve a name: the name itself, and wildcards over it. A wildcard
// means one label by the API and any number to some controllers; it counts as any number.
func claims(host string) []string {
	found := []string{host}
	for {
		_, parent, ok := strings.Cut(host, ".")
		if !ok {
			return found
		}
		found = append(found, wildcard+parent)
		host = parent
	}
}

// hostsOf are the host names of an Ingress's rules, each once.
func hostsOf(ingress *networkingv1.Ingress) []string {
	var hosts []string
	for _, rule := range ingress.Spec.Rules {
		if rule.Host != "" && !slices.Contains(hosts, rule.Host) {
			hosts = append(hosts, rule.Host)
		}
	}
	return hosts
}

// indexHost finds Ingresses by host names.
const indexHost = Name + ".host"

func indexedHosts(object client.Object) []string {
	ingress, ok := object.(*networkingv1.Ingress)
	if !ok {
		return nil
	}
	return hostsOf(ingress)
}

// withHost are the Ingresses of a cache that have a host name.
func withHost(ctx context.Context, from client.Reader, host string) ([]networkingv1.Ingress, error) {
	list := &networkingv1.IngressList{}
	if err := from.List(ctx, list, client.MatchingFields{indexHost: host}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list ingresses with host %q: %w", host, err)
	}
	return list.Items, nil
}

// isTaken tells whether somebody else, a tenant or the host itself, has a host name. own is the tenant's host Ingress that wants it, or nil.
//
// Who has a name on the host has it, and who does not have it yet waits. That two have one means that both took it before
// either could see the other: the older Ingress keeps it, as the controllers decide too.
func isTaken(ctx context.Context, scope *engine.Scope, own *networkingv1.Ingress, host string) (bool, error) {
	hasIt := own != nil && slices.Contains(hostsOf(own), host)
	for _, claim := range claims(host) {
		rivals, err := withHost(ctx, scope.HostCache, claim)
		if err != nil {
			return false, err
		}
		for index := range rivals {
			rival := &rivals[index]
			if _, isOwn := scope.TenantKey(rival); !isOwn && (!hasIt || !isOlder(own, rival)) {
				return true, nil
			}
		}
	}
	return false, nil
}

// isOlder orders Ingresses by age. Times have seconds only: of two tenants' copies of one second the UID decides, for both in
// the same way; to the host's own, which was not held back by anybody, the tenant's does not give way.
func isOlder(own, rival *networkingv1.Ingress) bool {
	if !own.CreationTimestamp.Equal(&rival.CreationTimestamp) {
		return own.CreationTimestamp.Before(&rival.CreationTimestamp)
	}
	return rival.Labels[mapping.LabelUID] == "" || own.UID < rival.UID
}
