package pod

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/node"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/priorityclass"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/referenced"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/runtimeclass"
)

// errNotYet says that what a pod refers to exists and is only not on the host yet. The pod is woken when it is.
var errNotYet = errors.New("not on the host yet")

// notYetRetry looks again in case the waking was missed.
const notYetRetry = 30 * time.Second

// create posts the host pod of a tenant's pod that never had one, or had it before the last sleep.
func (k *kind) create(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod) (engine.Result, error) {
	if isWaitingForScheduler(scope, virtualPod) {
		return engine.Result{}, nil
	}
	if err := k.check(ctx, scope, virtualPod); err != nil {
		return engine.Result{}, err
	}
	err := k.resolve(ctx, scope, virtualPod)
	if errors.Is(err, errNotYet) {
		return engine.Result{RequeueAfter: notYetRetry}, nil
	}
	if err != nil {
		return engine.Result{}, err
	}
	hostPod, wanted, err := k.translate(ctx, scope, virtualPod)
	if err != nil {
		return engine.Result{}, err
	}
	if err := setEpoch(scope, virtualPod, hostPod); err != nil {
		return engine.Result{}, err
	}
	// The tokens come first and their Secret right after the host pod, its owner: between the two is one call, in which no
	// scheduler and kubelet have got as far as to look for it.
	var content minted
	_, isKnown := k.bundles.get(scope.Tenant.UID, virtualPod)
	if !isKnown && !wanted.empty() {
		if content = k.bundles.mint(ctx, scope, virtualPod, wanted); content.err != nil {
			return engine.Result{}, content.err
		}
	}
	if err := scope.CreateHost(ctx, virtualPod, hostPod); err != nil {
		return engine.Result{}, err
	}
	if wasPutToSleep(scope, hostPod) {
		return engine.Result{RequeueAfter: asleepRetry}, nil // the host still has the last one, which the cache does not show: its end wakes this key
	}
	tellNotApplied(scope, virtualPod, hostPod)
	if content.data == nil {
		return engine.Result{}, nil
	}
	after, err := k.bundles.write(ctx, scope, virtualPod, hostPod, wanted, content)
	return engine.Result{RequeueAfter: after}, err
}

// check refuses what a host pod could not have in the way that the tenant means it.
func (k *kind) check(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod) error {
	if err := checkSupported(virtualPod, scope.Tenant.Spec.PodSecurity); err != nil {
		return err
	}
	if err := checkFullName(virtualPod, k.options.ClusterDomain); err != nil {
		return err
	}
	if name := virtualPod.Spec.RuntimeClassName; name != nil {
		return runtimeclass.Check(ctx, scope, *name)
	}
	return nil
}

// isWaitingForScheduler tells whether somebody in the tenant has to decide something first.
func isWaitingForScheduler(scope *engine.Scope, virtualPod *corev1.Pod) bool {
	if len(virtualPod.Spec.SchedulingGates) > 0 {
		return true
	}
	return node.SchedulesItself(scope.Tenant) && virtualPod.Spec.NodeName == ""
}

// translate makes the host pod of a tenant's pod.
func (k *kind) translate(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod) (*corev1.Pod, bundle, error) {
	servers, err := k.resolver.addresses(ctx, scope)
	if err != nil {
		return nil, bundle{}, err
	}
	labels, err := k.options.Labels(ctx, scope, virtualPod)
	if err != nil {
		return nil, bundle{}, err
	}
	priorityClass, err := priorityclass.Offered(ctx, scope, virtualPod.Spec.PriorityClassName)
	if err != nil {
		return nil, bundle{}, err
	}
	isPlaced := node.SchedulesItself(scope.Tenant) && virtualPod.Spec.NodeName != ""
	var overlaid []corev1.ResourceName
	if isPlaced {
		if overlaid, err = node.OverlaidResources(ctx, scope, virtualPod.Spec.NodeName); err != nil {
			return nil, bundle{}, err
		}
	}
	meta := scope.HostMeta(virtualPod)
	maps.Copy(meta.Labels, labels)
	hostPod, wanted := translate(virtualPod, translation{
		tenantUID: string(scope.Tenant.UID), meta: meta, serviceAddress: scope.Tenant.ServiceAddress,
		dnsServers: servers, clusterDomain: k.options.ClusterDomain, nodeSelector: scope.Tenant.Spec.Nodes.Selector, account: scope.Tenant.Account,
		isPlaced: isPlaced, overlaid: overlaid,
		priorityClass: priorityClass, hostNamespace: scope.HostNamespace,
		hasPullSecret: func(name string) bool {
			return k.secrets.Has(scope.Tenant.UID, engine.Key{Namespace: virtualPod.Namespace, Name: name})
		},
	})
	return hostPod, wanted, nil
}

// resolve makes sure that everything that a pod refers to is the tenant's own and on the host.
func (k *kind) resolve(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod) error {
	found := referencesOf(virtualPod)
	if err := ensureAll(ctx, scope, k.configMaps, "configmap", virtualPod.Namespace, found.configMaps); err != nil {
		return err
	}
	if err := ensureAll(ctx, scope, k.secrets, "secret", virtualPod.Namespace, found.secrets); err != nil {
		return err
	}
	for _, ref := range found.pullSecrets {
		err := k.secrets.Ensure(ctx, scope, engine.Key{Namespace: virtualPod.Namespace, Name: ref.name}, false)
		// A pull secret that does not exist is ignored, as the kubelet does.
		if err != nil && !errors.Is(err, referenced.ErrMissing) {
			return err
		}
	}
	for _, ref := range found.claims {
		if err := resolveClaim(ctx, scope, engine.Key{Namespace: virtualPod.Namespace, Name: ref.name}); err != nil {
			return err
		}
	}
	return nil
}

func ensureAll(ctx context.Context, scope *engine.Scope, copier *referenced.Copier, kindName, namespace string, refs []reference) error {
	for _, ref := range refs {
		if mapping.IsReserved(ref.name) {
			return engine.Refuse(engine.ReasonNotSupported, "%s %q: names that begin with %q are reserved; choose another name", kindName, ref.name, mapping.ReservedPrefix)
		}
		err := copier.Ensure(ctx, scope, engine.Key{Namespace: namespace, Name: ref.name}, ref.optional)
		if errors.Is(err, referenced.ErrMissing) {
			return engine.Refuse(engine.ReasonWaiting, "%s %q does not exist; the pod starts when it does", kindName, ref.name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// resolveClaim checks that a claim is the tenant's, is not lost, and has its own copy on the host.
func resolveClaim(ctx context.Context, scope *engine.Scope, key engine.Key) error {
	virtualClaim := &corev1.PersistentVolumeClaim{}
	err := scope.VirtualCache.Get(ctx, key.NamespacedName(), virtualClaim)
	if apierrors.IsNotFound(err) {
		return engine.Refuse(engine.ReasonWaiting, "persistentvolumeclaim %q does not exist; the pod starts when it does", key.Name)
	}
	if err != nil {
		return fmt.Errorf("get persistentvolumeclaim %q: %w", key, err)
	}
	if virtualClaim.Status.Phase == corev1.ClaimLost {
		return engine.Refuse(engine.ReasonWaiting, "persistentvolumeclaim %q has lost its volume; the pod is held back", key.Name)
	}
	hostClaim := &corev1.PersistentVolumeClaim{}
	err = scope.HostCache.Get(ctx, scope.HostKey(hostClaim, key), hostClaim)
	if apierrors.IsNotFound(err) || err == nil && !scope.IsCopy(hostClaim, virtualClaim) {
		return errNotYet
	}
	if err != nil {
		return fmt.Errorf("get host persistentvolumeclaim of %q: %w", key, err)
	}
	return nil
}
