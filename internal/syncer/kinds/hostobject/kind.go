package hostobject

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// defaultRecheck is how often objects of the host are looked at.
const defaultRecheck = 30 * time.Second

// Options of a Source. The zero value of each field is good.
type Options struct {
	// SystemNamespace is where the agent runs: nothing of it is shown, also beside a VirtualCluster. "" means matryoshka-system.
	SystemNamespace string
	// Recheck is how often objects of the host are looked at. 0 means 30 s.
	Recheck time.Duration
}

// Source is what the two kinds share: how each object stands in each tenant.
type Source struct {
	options Options

	mu     sync.Mutex
	states map[types.UID]map[target]state // protected by mu; by tenant
}

// target is where a mirror is in a tenant.
type target struct {
	kind clusterv1alpha1.HostObjectKind
	engine.Key
}

// state is how one mirror stands. It is replaced, not changed.
type state struct {
	// hostVersion and virtualVersion are the UIDs and resource versions at which both sides were found alike. "" means never.
	hostVersion, virtualVersion string
	// problem is nil when all is well.
	problem *obstacle
}

// obstacle says why an object is not shown, for the owner of the VirtualCluster.
type obstacle struct{ reason, message string }

func (o *obstacle) Error() string { return o.message }

// Reasons of obstacles.
const (
	reasonNotShared   = "NotShared"
	reasonRefused     = "Refused"
	reasonNameTaken   = engine.ReasonNameTaken
	reasonNoNamespace = "NoNamespace"
	reasonPending     = "Pending"
)

// New makes a Source.
func New(options Options) *Source {
	if options.SystemNamespace == "" {
		options.SystemNamespace = "matryoshka-system"
	}
	if options.Recheck == 0 {
		options.Recheck = defaultRecheck
	}
	return &Source{options: options, states: map[types.UID]map[target]state{}}
}

// Kinds are that of ConfigMaps and that of Secrets.
func (s *Source) Kinds() []engine.Kind {
	return []engine.Kind{
		kind{source: s, kind: clusterv1alpha1.HostConfigMap, content: configMap{}}.engineKind("hostconfigmap"),
		kind{source: s, kind: clusterv1alpha1.HostSecret, content: secret{}}.engineKind("hostsecret"),
	}
}

// kind is one of the two kinds.
type kind struct {
	source  *Source
	kind    clusterv1alpha1.HostObjectKind
	content content
}

func (k kind) engineKind(name string) engine.Kind {
	meta := engine.MetadataOnly(k.content.empty())
	return engine.Kind{
		Name:   name,
		Object: meta,
		Triggers: []engine.Trigger{
			{Side: engine.Virtual, Object: meta, Keys: k.concerned},
			// A namespace that is made is what its mirrors wait for.
			{Side: engine.Virtual, Object: &corev1.Namespace{}, Keys: k.inNamespace, Ignore: func(_, _ client.Object) bool { return true }},
		},
		Asked:     k.asked,
		Reconcile: k.reconcile,
		Stopped:   k.source.stopped,
	}
}

// targetOf is where the mirror of an object is.
func targetOf(wish clusterv1alpha1.HostObject) target {
	found := target{kind: wish.Kind, Key: engine.Key{Namespace: wish.ToNamespace, Name: wish.ToName}}
	if found.Namespace == "" {
		found.Namespace = metav1.NamespaceDefault
	}
	if found.Name == "" {
		found.Name = wish.Name
	}
	return found
}

// wishFor is what a tenant's spec wants to see under a key.
func (k kind) wishFor(tenant tenants.Tenant, key engine.Key) (clusterv1alpha1.HostObject, bool) {
	list := tenant.Spec.Sync.HostObjects
	index := slices.IndexFunc(list, func(wish clusterv1alpha1.HostObject) bool { return targetOf(wish) == target{k.kind, key} })
	if index < 0 {
		return clusterv1alpha1.HostObject{}, false
	}
	return list[index], true
}

// concerned are mirrors, also those that nobody wants any more, and what is in the place of one.
func (k kind) concerned(scope *engine.Scope, virtualObject client.Object) []engine.Key {
	key := engine.KeyOf(virtualObject)
	if _, isWanted := k.wishFor(scope.Tenant, key); !isWanted && !isMirror(virtualObject) {
		return nil
	}
	return []engine.Key{key}
}

func (k kind) inNamespace(scope *engine.Scope, namespace client.Object) []engine.Key {
	return slices.DeleteFunc(k.wanted(scope.Tenant), func(key engine.Key) bool { return key.Namespace != namespace.GetName() })
}

func (k kind) wanted(tenant tenants.Tenant) []engine.Key {
	var keys []engine.Key
	for _, wish := range tenant.Spec.Sync.HostObjects {
		if wish.Kind == k.kind {
			keys = append(keys, targetOf(wish).Key)
		}
	}
	return keys
}

// asked is what the spec names, and what it no longer names.
func (k kind) asked(tenant tenants.Tenant) []engine.Key {
	keys := k.wanted(tenant)
	k.source.mu.Lock()
	defer k.source.mu.Unlock()
	for known := range k.source.states[tenant.UID] {
		if known.kind == k.kind && !slices.Contains(keys, known.Key) {
			keys = append(keys, known.Key)
		}
	}
	return keys
}

func (k kind) reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	wish, isWanted := k.wishFor(scope.Tenant, key)
	if !isWanted {
		if err := k.remove(ctx, scope, key); err != nil {
			return engine.Result{}, err
		}
		k.source.drop(scope.Tenant.UID, target{k.kind, key})
		return engine.Result{}, nil
	}
	before := k.source.state(scope.Tenant.UID, target{k.kind, key})
	now, err := k.bring(ctx, scope, key, wish, before)
	if errors.As(err, &now.problem) {
		err = k.withdraw(ctx, scope, key, now.problem, before.problem)
		now = state{problem: now.problem}
	}
	if err != nil {
		return engine.Result{}, err
	}
	k.source.set(scope.Tenant.UID, target{k.kind, key}, now)
	return engine.Result{RequeueAfter: k.source.options.Recheck}, nil
}

// withdraw takes a mirror away that must not be shown any more, and tells the tenant once about an object of its own that
// keeps one from being shown.
func (k kind) withdraw(ctx context.Context, scope *engine.Scope, key engine.Key, problem, before *obstacle) error {
	if problem.reason != reasonNameTaken {
		return k.remove(ctx, scope, key)
	}
	if before != nil && before.reason == problem.reason {
		return nil
	}
	// Not from the cache, which may not have it yet: it is told once only.
	virtualObject, ok, err := engine.Get(ctx, scope.VirtualClient, key.NamespacedName(), engine.MetadataOnly(k.content.empty()))
	if err == nil && ok {
		scope.Event(virtualObject, corev1.EventTypeWarning, problem.reason, problem.message)
	}
	return err
}

func (s *Source) state(tenant types.UID, of target) state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.states[tenant][of]
}

func (s *Source) set(tenant types.UID, of target, now state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states[tenant] == nil {
		s.states[tenant] = map[target]state{}
	}
	s.states[tenant][of] = now
}

func (s *Source) drop(tenant types.UID, of target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.states[tenant], of)
}

func (s *Source) stopped(tenant types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.states, tenant)
}

// Problem says what keeps objects of the host from being shown in a tenant, as the reason of a condition and a message; both are
// empty when nothing does.
func (s *Source) Problem(tenant tenants.Tenant) (reason, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[target]bool{}
	for _, wish := range tenant.Spec.Sync.HostObjects {
		problem := s.problem(tenant.UID, wish, seen)
		switch {
		case problem == nil:
		case message == "":
			reason, message = problem.reason, problem.message
		default:
			message += "; " + problem.message
		}
	}
	return reason, message
}

// problem must be called with mu held.
func (s *Source) problem(tenant types.UID, wish clusterv1alpha1.HostObject, seen map[target]bool) *obstacle {
	at := targetOf(wish)
	if seen[at] {
		return &obstacle{reasonRefused, nameOf(wish) + ": another entry has the same place in the virtual cluster; give it another toName"}
	}
	seen[at] = true
	known, ok := s.states[tenant][at]
	if !ok {
		return &obstacle{reasonPending, nameOf(wish) + ": not looked at yet"}
	}
	return known.problem
}
