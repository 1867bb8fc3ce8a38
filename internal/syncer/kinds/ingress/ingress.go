package ingress

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostcopy"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/ingressclass"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/mirror"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/referenced"
)

// Name of the kind.
const Name = "ingress"

// ReasonHostTaken is the reason of the event on an Ingress with a host name that somebody else has.
const ReasonHostTaken = "HostTaken"

// Options of the kind.
type Options struct {
	// Secrets copies the Secrets of certificates. It knows SecretReferrer. Required.
	Secrets *referenced.Copier
	// Annotations are keys of annotations that go down, beside those that the package knows to be harmless. Whoever runs the
	// host answers for what a tenant can do with them.
	Annotations []string
}

// New returns the kind.
func New(options Options) engine.Kind {
	k := kind{options: options}
	return engine.Kind{
		Name: Name, Object: empty(), Triggers: triggers(), Indexes: indexes(), Reconcile: k.reconcile,
	}
}

// SecretReferrer says to the copier of Secrets that Ingresses refer to them.
func SecretReferrer() referenced.Referrer {
	return referenced.Referrer{
		Kind: Name, Object: empty(), List: func() client.ObjectList { return &networkingv1.IngressList{} },
		Names: func(object client.Object) []string {
			ingress, ok := object.(*networkingv1.Ingress)
			if !ok {
				return nil
			}
			return secretsOf(ingress)
		},
	}
}

func empty() *networkingv1.Ingress { return &networkingv1.Ingress{} }

type kind struct{ options Options }

type pair = hostcopy.Pair[*networkingv1.Ingress]

func (k kind) reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	pair, err := hostcopy.Read(ctx, scope, key, empty)
	if err != nil {
		return engine.Result{}, err
	}
	if !pair.HasVirtual {
		return engine.Result{}, pair.RemoveOrphan(ctx, scope, empty())
	}
	isOurs, err := isOfHost(ctx, scope, pair.Virtual)
	var refusal *engine.Refusal
	switch {
	case err != nil && !errors.As(err, &refusal):
		return engine.Result{}, err
	case err != nil:
		return engine.Result{}, withdraw(ctx, scope, pair, refusal)
	case !isOurs:
		return engine.Result{}, pair.Remove(ctx, scope)
	}
	return k.write(ctx, scope, pair)
}

// isOfHost tells whether an Ingress is for a controller of the host. One of a class that the tenant made itself is for a
// controller of the tenant's own.
func isOfHost(ctx context.Context, scope *engine.Scope, virtualIngress *networkingv1.Ingress) (bool, error) {
	name := classOf(virtualIngress)
	if name == "" {
		return false, engine.Refuse(engine.ReasonNotSupported, "spec.ingressClassName is not set; set it to one of those that `kubectl get ingressclasses` shows")
	}
	key := client.ObjectKey{Name: name}
	virtualClass, exists, err := engine.Get(ctx, scope.VirtualCache, key, &networkingv1.IngressClass{})
	if err != nil {
		return false, err
	}
	if !exists {
		return false, engine.Refuse(engine.ReasonWaiting, "IngressClass %q does not exist; choose one of those that `kubectl get ingressclasses` shows", name)
	}
	if !mirror.IsMirror(virtualClass) {
		return false, nil
	}
	hostClass, exists, err := engine.Get(ctx, scope.HostCache, key, &networkingv1.IngressClass{})
	if err != nil {
		return false, err
	}
	if !exists || !ingressclass.IsOffered(scope, hostClass) {
		return false, engine.Refuse(engine.ReasonWaiting, "IngressClass %q does not exist any more; choose another", name)
	}
	return true, nil
}

func classOf(ingress *networkingv1.Ingress) string {
	if ingress.Spec.IngressClassName == nil {
		return ""
	}
	return *ingress.Spec.IngressClassName
}

// write brings the host Ingress to what of the tenant's may go down, brings the status up, and tells what stays behind.
func (k kind) write(ctx context.Context, scope *engine.Scope, pair pair) (engine.Result, error) {
	translation, err := k.find(ctx, scope, pair)
	if err != nil {
		return engine.Result{}, err
	}
	spec, ok := translation.translate(pair.Virtual.Spec)
	bare := pair.Virtual.DeepCopy()
	var strange []string
	if bare.Annotations, strange = annotations(pair.Virtual.Annotations, k.options.Annotations); len(strange) > 0 {
		translation.refuse(engine.ReasonNotSupported, "annotations %s: ingress controllers are shared, so only some are passed on", strings.Join(strange, ", "))
	}
	refusal := translation.refusal()
	if !ok {
		return engine.Result{}, withdraw(ctx, scope, pair, refusal)
	}
	desired := &networkingv1.Ingress{ObjectMeta: scope.HostMeta(bare, slices.Collect(maps.Keys(bare.Annotations))...), Spec: spec}
	result, err := pair.Write(ctx, scope, desired, func(hostIngress *networkingv1.Ingress) { hostcopy.Set(&hostIngress.Spec, spec) })
	if err != nil {
		return result, err
	}
	if err := statusUp(ctx, scope, pair); err != nil {
		return result, err
	}
	if refusal != nil {
		return result, refusal
	}
	return result, nil
}

// withdraw takes an Ingress that must not be served from the host, and tells why.
func withdraw(ctx context.Context, scope *engine.Scope, pair pair, refusal *engine.Refusal) error {
	if err := pair.Remove(ctx, scope); err != nil {
		return err
	}
	var none networkingv1.IngressLoadBalancerStatus
	err := engine.PatchVirtualStatus(ctx, scope, pair.Virtual, func(virtualIngress *networkingv1.Ingress) { virtualIngress.Status.LoadBalancer = none })
	if err != nil || refusal == nil {
		return err
	}
	return refusal
}

func statusUp(ctx context.Context, scope *engine.Scope, pair pair) error {
	if !pair.HasHost {
		return nil // just made; its event brings the key again
	}
	return engine.PatchVirtualStatus(ctx, scope, pair.Virtual, func(virtualIngress *networkingv1.Ingress) {
		virtualIngress.Status.LoadBalancer = *pair.Host.Status.LoadBalancer.DeepCopy()
	})
}

// find looks up everything that an Ingress names.
func (k kind) find(ctx context.Context, scope *engine.Scope, pair pair) (*translation, error) {
	taken, secrets, backends := map[string]bool{}, map[string]bool{}, map[string]*engine.Refusal{}
	var err error
	for _, host := range hostsOf(pair.Virtual) {
		if taken[host], err = isTaken(ctx, scope, pair.Host, host); err != nil {
			return nil, err
		}
	}
	for _, name := range servicesOf(pair.Virtual) {
		if backends[name], err = CheckBackend(ctx, scope, engine.Key{Namespace: pair.Virtual.Namespace, Name: name}); err != nil {
			return nil, err
		}
	}
	for _, name := range secretsOf(pair.Virtual) {
		err := k.options.Secrets.Ensure(ctx, scope, engine.Key{Namespace: pair.Virtual.Namespace, Name: name}, false)
		if err != nil && !errors.Is(err, referenced.ErrMissing) {
			return nil, fmt.Errorf("copy secret %q: %w", name, err)
		}
		secrets[name] = err == nil
	}
	return &translation{
		isTaken:   func(host string) bool { return taken[host] },
		backend:   func(service string) *engine.Refusal { return backends[service] },
		hasSecret: func(secret string) bool { return secrets[secret] },
	}, nil
}

// CheckBackend tells why a Service of the tenant cannot be a backend; nil means that it can. The controller would look up
// the name of an ExternalName Service, and call whatever it is, from inside the host's network. A Service that is not the
// copy of the tenant's belongs to the host.
func CheckBackend(ctx context.Context, scope *engine.Scope, key engine.Key) (*engine.Refusal, error) {
	virtualService, exists, err := engine.Get(ctx, scope.VirtualCache, key.NamespacedName(), &corev1.Service{})
	if err != nil {
		return nil, err
	}
	if !exists {
		return &engine.Refusal{Reason: engine.ReasonWaiting, Message: "does not exist"}, nil
	}
	if virtualService.Spec.Type == corev1.ServiceTypeExternalName {
		return &engine.Refusal{Reason: engine.ReasonNotSupported, Message: "is of type ExternalName, which cannot be a backend in a virtual cluster"}, nil
	}
	hostService, exists, err := engine.Get(ctx, scope.HostCache, scope.HostKey(&corev1.Service{}, key), &corev1.Service{})
	if err != nil {
		return nil, err
	}
	if !exists || !scope.IsCopy(hostService, virtualService) || hostService.Spec.Type == corev1.ServiceTypeExternalName {
		return &engine.Refusal{Reason: engine.ReasonWaiting, Message: "is not on the host yet"}, nil
	}
	return nil, nil
}
