package pod

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/configmap"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostquota"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/referenced"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/secret"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// Name of the kind, for Scope.Enqueue.
const Name = "pod"

// Options of the kind. The zero value of each field has a default.
type Options struct {
	// DNSService is the host Service of the tenants' DNS. Zero means matryoshka-system/matryoshka-dns.
	DNSService types.NamespacedName
	// ClusterDomain of the tenants. "" means cluster.local.
	ClusterDomain string
	// Secrets copies the Secrets that pods refer to; nil means NewSecretCopier without others.
	Secrets *referenced.Copier
	// Labels are labels that a host pod has beside those of ownership and of the tenant; their keys must always be the same. Nil
	// means none.
	Labels func(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod) (map[string]string, error)
	// Epoch asks the host how often a virtual cluster has fallen asleep, past every cache. Nil means that none ever does.
	Epoch func(ctx context.Context, tenant tenants.Tenant) (int64, error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// NewKinds makes the kind pod, and the kinds of what is copied because a pod refers to it: configmap and secret.
func NewKinds(options Options) []engine.Kind {
	if options.DNSService.Name == "" {
		options.DNSService = types.NamespacedName{Namespace: "matryoshka-system", Name: "matryoshka-dns"}
	}
	if options.ClusterDomain == "" {
		options.ClusterDomain = "cluster.local"
	}
	if options.Secrets == nil {
		options.Secrets = NewSecretCopier()
	}
	if options.Labels == nil {
		options.Labels = noLabels
	}
	if options.Epoch == nil {
		options.Epoch = func(_ context.Context, tenant tenants.Tenant) (int64, error) { return tenant.SleepEpoch, nil }
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	k := &kind{
		options: options, now: options.Now,
		configMaps: configmap.NewCopier(configMapNames, needsConfigMap), secrets: options.Secrets,
		bundles: newBundles(options.Now), marks: newMarks(), resolver: newResolver(options.DNSService, options.Now),
	}
	return []engine.Kind{k.describe(), referenced.NewKind(k.configMaps), referenced.NewKind(k.secrets)}
}

// NewSecretCopier makes the copier of Secrets that pods and others refer to. NewKinds returns its kind.
func NewSecretCopier(others ...referenced.Referrer) *referenced.Copier {
	return secret.NewCopier(secretNames, needsSecret, others...)
}

func noLabels(context.Context, *engine.Scope, *corev1.Pod) (map[string]string, error) {
	return nil, nil
}

type kind struct {
	options    Options
	now        func() time.Time
	configMaps *referenced.Copier
	secrets    *referenced.Copier
	bundles    *bundles
	marks      *marks
	resolver   *resolver
}

// The names of the indexes.
const (
	claimIndex   = "pod/claims"
	runtimeIndex = "pod/runtime-class"
)

func (k *kind) describe() engine.Kind {
	return engine.Kind{
		Name: Name, Object: &corev1.Pod{}, Lane: engine.LaneFirst,
		Triggers: []engine.Trigger{
			{Side: engine.Virtual, Object: &corev1.Pod{}},
			{Side: engine.Host, Object: &corev1.Pod{}},
			{Side: engine.Virtual, Object: &corev1.PersistentVolumeClaim{}, Keys: waitingForClaim},
			{Side: engine.Host, Object: &corev1.PersistentVolumeClaim{}, Keys: waitingForClaim},
			{Side: engine.Host, Object: &corev1.Namespace{}, Keys: waitingInNamespace, Ignore: always},
			hostquota.Trigger(func(scope *engine.Scope, tenantNamespace string) []engine.Key {
				return waiting(scope, client.InNamespace(tenantNamespace))
			}),
			{Side: engine.Host, Object: &nodev1.RuntimeClass{}, Unfiltered: true, Keys: waitingForRuntime},
			// It is only read: what priority a pod gets is settled when it is made.
			{Side: engine.Host, Object: &schedulingv1.PriorityClass{}, Unfiltered: true, Keys: nobody},
		},
		Indexes: []engine.Index{{Side: engine.Virtual, Object: &corev1.Pod{}, Field: claimIndex, Values: func(object client.Object) []string {
			if pod, ok := object.(*corev1.Pod); ok {
				return claimNames(pod)
			}
			return nil
		}}, {Side: engine.Virtual, Object: &corev1.Pod{}, Field: runtimeIndex, Values: func(object client.Object) []string {
			if pod, ok := object.(*corev1.Pod); ok && pod.Spec.RuntimeClassName != nil {
				return []string{*pod.Spec.RuntimeClassName}
			}
			return nil
		}}},
		Reconcile: k.reconcile,
		Stopped: func(tenant types.UID) {
			k.bundles.stopped(tenant)
			k.marks.stopped(tenant)
		},
	}
}

func always(_, _ client.Object) bool { return true }

func nobody(*engine.Scope, client.Object) []engine.Key { return nil }

// waitingForRuntime are the pods without host pod that name a RuntimeClass of the host.
func waitingForRuntime(scope *engine.Scope, hostClass client.Object) []engine.Key {
	return waiting(scope, client.MatchingFields{runtimeIndex: hostClass.GetName()})
}

// waitingForClaim are the pods without host pod that refer to a claim, which is of either side.
func waitingForClaim(scope *engine.Scope, claim client.Object) []engine.Key {
	key := engine.KeyOf(claim)
	if hostKey, ok := scope.TenantKey(claim); ok {
		key = hostKey
	}
	return waiting(scope, client.InNamespace(key.Namespace), client.MatchingFields{claimIndex: key.Name})
}

// waitingInNamespace are the pods without host pod of a mapped namespace that came or went.
func waitingInNamespace(scope *engine.Scope, hostNamespace client.Object) []engine.Key {
	name := hostNamespace.GetLabels()[mapping.LabelTenantNamespace]
	if name == "" {
		return nil
	}
	return waiting(scope, client.InNamespace(name))
}

func waiting(scope *engine.Scope, which ...client.ListOption) []engine.Key {
	pods := &corev1.PodList{}
	// A cache that is not filled yet has no pods: they come by themselves when it is.
	if err := scope.VirtualCache.List(context.Background(), pods, append(which, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil
	}
	var keys []engine.Key
	for index := range pods.Items {
		if markerOf(&pods.Items[index]) == "" {
			keys = append(keys, engine.KeyOf(&pods.Items[index]))
		}
	}
	return keys
}

// reconcile does one step of the state machine, or several if nothing has to be waited for in between.
func (k *kind) reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	virtualPod, err := get(ctx, scope.VirtualCache, key.NamespacedName())
	if err != nil {
		return engine.Result{}, fmt.Errorf("get pod %q: %w", key, err)
	}
	hostPod, err := get(ctx, scope.HostCache, scope.HostKey(&corev1.Pod{}, key))
	if err != nil {
		return engine.Result{}, fmt.Errorf("get host pod of %q: %w", key, err)
	}
	switch {
	case virtualPod == nil:
		return engine.Result{}, k.orphan(ctx, scope, key, hostPod)
	case virtualPod.Annotations[corev1.MirrorPodAnnotationKey] != "":
		return engine.Result{}, nil // a kubelet's own, which a virtual cluster does not have
	case hostPod == nil:
		return k.absent(ctx, scope, virtualPod)
	case !scope.IsCopy(hostPod, virtualPod):
		return engine.Result{}, k.predecessor(ctx, scope, hostPod)
	default:
		return k.both(ctx, scope, virtualPod, hostPod)
	}
}

// get returns nil for a pod that does not exist.
func get(ctx context.Context, from client.Reader, key client.ObjectKey) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	err := from.Get(ctx, key, pod)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return pod, nil
}

// orphan removes the host pod of a tenant's pod that is gone.
func (k *kind) orphan(ctx context.Context, scope *engine.Scope, key engine.Key, hostPod *corev1.Pod) error {
	k.bundles.forget(scope.Tenant.UID, key)
	k.marks.forget(scope.Tenant.UID, key)
	if hostPod == nil {
		return nil
	}
	return k.predecessor(ctx, scope, hostPod)
}

// predecessor lets a host pod end whose tenant pod is gone. A tenant pod of the same name waits until it has.
func (k *kind) predecessor(ctx context.Context, scope *engine.Scope, hostPod *corev1.Pod) error {
	key, ok := scope.TenantKey(hostPod)
	if !ok {
		return nil
	}
	gone, err := scope.VirtualGone(ctx, &corev1.Pod{}, key, types.UID(hostPod.Annotations[mapping.AnnotationTenantUID]))
	if err != nil || !gone {
		return err
	}
	if err := k.release(ctx, scope, hostPod); err != nil {
		return err
	}
	if hostPod.DeletionTimestamp != nil {
		return nil
	}
	return scope.DeleteHost(ctx, hostPod)
}
