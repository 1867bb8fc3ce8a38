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

// isTaken tells whether somebody else has a host name that an Ingress wants. own is the tenant's host Ingress, or nil.
func isTaken(ctx context.Context, scope *engine.Scope, own *networkingv1.Ingress, host string) (bool, error) {
	if own == nil {
		return IsTaken(ctx, scope, nil, nil, host)
	}
	return IsTaken(ctx, scope, own, hostsOf(own), host)
}

// IsTaken tells whether somebody else, a tenant or the host itself, has a host name, by an Ingress or by another object that
// leads traffic (engine.Dynamic.Unique). own is the tenant's host object that wants it, or nil, and names are those that it has.
//
// Who has a name on the host has it, and who does not have it yet waits. That two have one means that both took it before
// either could see the other: the older object keeps it, as the controllers decide too.
func IsTaken(ctx context.Context, scope *engine.Scope, own client.Object, names []string, host string) (bool, error) {
	hasIt := slices.Contains(names, host)
	for _, claim := range claims(host) {
		rivals, err := rivalsFor(ctx, scope, claim)
		if err != nil {
			return false, err
		}
		for _, rival := range rivals {
			if _, isOwn := scope.TenantKey(rival); !isOwn && (!hasIt || !isOlder(own, rival)) {
				return true, nil
			}
		}
	}
	return false, nil
}

func rivalsFor(ctx context.Context, scope *engine.Scope, claim string) ([]client.Object, error) {
	rivals, err := scope.HostObjectsWith(ctx, claim)
	if err != nil {
		return nil, err
	}
	ingresses, err := withHost(ctx, scope.HostCache, claim)
	for index := range ingresses {
		rivals = append(rivals, &ingresses[index])
	}
	return rivals, err
}

// isOlder orders objects by age. Times have seconds only: of two tenants' copies of one second the UID decides, for both in
// the same way; to the host's own, which was not held back by anybody, the tenant's does not give way.
func isOlder(own, rival client.Object) bool {
	ownMade, rivalMade := own.GetCreationTimestamp(), rival.GetCreationTimestamp()
	if !ownMade.Equal(&rivalMade) {
		return ownMade.Before(&rivalMade)
	}
	return rival.GetLabels()[mapping.LabelUID] == "" || own.GetUID() < rival.GetUID()
}
