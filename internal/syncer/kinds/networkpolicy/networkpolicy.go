package networkpolicy

import (
	"context"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/fence"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostranges"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostcopy"
)

// Name of the kind.
const Name = "networkpolicy"

// ReasonPeerNotAllowed is the reason of the event on a policy of which a peer is left out.
const ReasonPeerNotAllowed = "PeerNotAllowed"

// Options of the kind.
type Options struct {
	// SystemNamespace is where the DNS runs. "" means matryoshka-system.
	SystemNamespace string
	// Ranges tells the addresses of the host. Required.
	Ranges *hostranges.Source
}

// New returns the kind.
func New(options Options) engine.Kind {
	if options.SystemNamespace == "" {
		options.SystemNamespace = "matryoshka-system"
	}
	k := kind{options: options}
	return engine.Kind{
		Name: Name, Object: &networkingv1.NetworkPolicy{}, Lane: engine.LaneFirst,
		Triggers: []engine.Trigger{
			{Side: engine.Virtual, Object: &networkingv1.NetworkPolicy{}},
			{Side: engine.Host, Object: &networkingv1.NetworkPolicy{}},
			{Side: engine.Host, Object: &corev1.Node{}, Unfiltered: true, Keys: k.rangesChanged, Ignore: hostranges.SameNode},
			{Side: engine.Virtual, Object: &corev1.Namespace{}, Keys: dnsNamespaceChanged, Ignore: sameLabels},
			// Nothing of pods wakes a policy, but relabel reads them; pods themselves ask for PodLabels.
			{Side: engine.Virtual, Object: &corev1.Pod{}, Keys: nothing, Ignore: always},
			{Side: engine.Host, Object: &corev1.Pod{}, Keys: nothing, Ignore: always},
		},
		Reconcile: k.reconcile,
	}
}

type kind struct{ options Options }

func nothing(*engine.Scope, client.Object) []engine.Key { return nil }

func always(_, _ client.Object) bool { return true }

func sameLabels(old, new client.Object) bool { return maps.Equal(old.GetLabels(), new.GetLabels()) }

// rangesChanged looks again at all policies: their copies name the host's addresses.
func (k kind) rangesChanged(scope *engine.Scope, _ client.Object) []engine.Key {
	k.options.Ranges.Expire()
	return allPolicies(scope)
}

// dnsNamespaceChanged looks again at all policies when the labels of the namespace change by which they allow the DNS.
func dnsNamespaceChanged(scope *engine.Scope, virtualNamespace client.Object) []engine.Key {
	if virtualNamespace.GetName() != metav1.NamespaceSystem {
		return nil
	}
	return allPolicies(scope)
}

func allPolicies(scope *engine.Scope) []engine.Key {
	policies := &networkingv1.NetworkPolicyList{}
	// A cache that is not filled yet has no policies: they come by themselves when it is.
	if err := scope.VirtualCache.List(context.Background(), policies, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	keys := make([]engine.Key, 0, len(policies.Items))
	for index := range policies.Items {
		keys = append(keys, engine.KeyOf(&policies.Items[index]))
	}
	return keys
}

func empty() *networkingv1.NetworkPolicy { return &networkingv1.NetworkPolicy{} }

func (k kind) reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	pair, err := hostcopy.Read(ctx, scope, key, empty)
	if err != nil {
		return engine.Result{}, err
	}
	var result engine.Result
	if pair.HasVirtual {
		result, err = k.write(ctx, scope, pair)
	} else {
		err = pair.RemoveOrphan(ctx, scope, empty())
	}
	// The pods come last: a policy is on the host before the fence lets go of what it selects, and is gone before the fence
	// takes over again. In between they are closed.
	if relabelErr := relabel(ctx, scope, key.Namespace); relabelErr != nil {
		return engine.Result{}, relabelErr
	}
	return result, err
}

func (k kind) write(ctx context.Context, scope *engine.Scope, pair hostcopy.Pair[*networkingv1.NetworkPolicy]) (engine.Result, error) {
	if strange := hostcopy.StrangeLabels(&pair.Virtual.Spec.PodSelector); len(strange) > 0 {
		if err := pair.Remove(ctx, scope); err != nil {
			return engine.Result{}, err
		}
		return engine.Result{}, engine.Refuse(engine.ReasonNotSupported,
			"spec.podSelector asks for labels that the host does not have (%s), so the policy cannot work and the pods that it selects are closed; select by other labels",
			strings.Join(strange, ", "))
	}
	ranges, err := k.options.Ranges.Current(ctx)
	if err != nil {
		return engine.Result{}, err
	}
	dns, err := dnsNamespaceLabels(ctx, scope)
	if err != nil {
		return engine.Result{}, err
	}
	translation := translation{
		fence:     fence.Fence{Tenant: scope.Tenant.UID, SystemNamespace: k.options.SystemNamespace, Ranges: ranges},
		namespace: pair.Virtual.Namespace, dnsLabels: dns,
	}
	spec := translation.translate(pair.Virtual.Spec)
	desired := &networkingv1.NetworkPolicy{ObjectMeta: scope.HostMeta(pair.Virtual), Spec: spec}
	result, err := pair.Write(ctx, scope, desired, func(hostPolicy *networkingv1.NetworkPolicy) {
		hostcopy.Set(&hostPolicy.Spec, spec)
	})
	if err == nil && len(translation.refused) > 0 {
		err = engine.Refuse(ReasonPeerNotAllowed, "left out: %s", strings.Join(abbreviate(translation.refused), "; "))
	}
	return result, err
}

func dnsNamespaceLabels(ctx context.Context, scope *engine.Scope) (map[string]string, error) {
	namespace, ok, err := engine.Get(ctx, scope.VirtualCache, client.ObjectKey{Name: metav1.NamespaceSystem}, &corev1.Namespace{})
	if err != nil {
		return nil, err
	}
	if ok {
		return namespace.Labels, nil
	}
	return map[string]string{corev1.LabelMetadataName: metav1.NamespaceSystem}, nil
}

// abbreviate keeps a message about many peers readable.
func abbreviate(refused []string) []string {
	const shown = 5
	if len(refused) <= shown {
		return refused
	}
	return append(refused[:shown:shown], fmt.Sprintf("and %d more", len(refused)-shown))
}
