package customresource

import (
	"context"
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

// Names of the kinds.
const (
	kindDefinition = "customresourcedefinition"
	kindObject     = "customresource"
)

// defaultRecheck is how often rights and definitions are looked at again without having heard of a change.
const defaultRecheck = 30 * time.Second

// Options of a Source. The zero value is good.
type Options struct {
	// Recheck is how often what is not watched is looked at: the agent's rights, and definitions in tenants. 0 means 30 s.
	Recheck time.Duration
}

// Source is what the kinds share: how each type stands in each tenant.
type Source struct {
	recheck time.Duration

	mu     sync.Mutex
	states map[types.UID]map[string]state // protected by mu; by tenant and name of the definition
}

// state is how one type stands in one tenant. It is replaced, not changed.
type state struct {
	asked clusterv1alpha1.CustomResource
	// hostVersion and virtualVersion are the resource versions at which both definitions were found right. "" means never.
	hostVersion, virtualVersion string

	dynamic engine.Dynamic
	rules   rules
	// builtIn is what the agent knows of the kind by itself; the zero value is nothing.
	builtIn   builtIn
	hasStatus bool
	// problem is nil when all is well.
	problem *obstacle
}

func (s state) isWell() bool { return s.problem == nil }

// New makes a Source.
func New(options Options) *Source {
	if options.Recheck == 0 {
		options.Recheck = defaultRecheck
	}
	return &Source{recheck: options.Recheck, states: map[types.UID]map[string]state{}}
}

// Kinds are the definitions and their objects.
func (s *Source) Kinds() []engine.Kind {
	hostDefinition := &metav1.PartialObjectMetadata{}
	hostDefinition.SetGroupVersionKind(engine.CustomResourceDefinition)
	return []engine.Kind{{
		Name:      kindDefinition,
		Triggers:  []engine.Trigger{{Side: engine.Host, Object: hostDefinition, Unfiltered: true, Everybody: true, Keys: askedFor}},
		Asked:     s.asked,
		Reconcile: s.reconcileDefinition,
		Stopped:   s.stopped,
	}, {
		Name: kindObject,
		Triggers: []engine.Trigger{
			{Side: engine.Virtual, Object: &corev1.Service{}, Keys: routesBeside, Ignore: sameService},
			{Side: engine.Host, Object: &corev1.Service{}, Keys: routesBesideCopy, Ignore: sameService},
		},
		ObjectOf:  objectOf,
		Reconcile: s.reconcileObject,
	}}
}

// Problem says what keeps the custom resources of a tenant from being in step, as the reason of a condition and a message;
// both are empty when nothing does.
func (s *Source) Problem(tenant tenants.Tenant) (reason, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, asked := range tenant.Spec.Sync.CustomResources {
		problem := &obstacle{reasonPending, asked.Name + ": not looked at yet"}
		if known, ok := s.states[tenant.UID][asked.Name]; ok {
			problem = known.problem
		}
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

// askedFor concerns tenants only whose spec names the definition.
func askedFor(scope *engine.Scope, hostDefinition client.Object) []engine.Key {
	if _, ok := wish(scope.Tenant, hostDefinition.GetName()); !ok {
		return nil
	}
	return []engine.Key{{Name: hostDefinition.GetName()}}
}

func wish(tenant tenants.Tenant, name string) (clusterv1alpha1.CustomResource, bool) {
	list := tenant.Spec.Sync.CustomResources
	index := slices.IndexFunc(list, func(asked clusterv1alpha1.CustomResource) bool { return asked.Name == name })
	if index < 0 {
		return clusterv1alpha1.CustomResource{}, false
	}
	return list[index], true
}

// asked is what the spec names, and what it no longer names and is still followed.
func (s *Source) asked(tenant tenants.Tenant) []engine.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []engine.Key
	for _, asked := range tenant.Spec.Sync.CustomResources {
		keys = append(keys, engine.Key{Name: asked.Name})
	}
	for name := range s.states[tenant.UID] {
		if _, ok := wish(tenant, name); !ok {
			keys = append(keys, engine.Key{Name: name})
		}
	}
	return keys
}

func (s *Source) stateOf(tenant types.UID, name string) (state, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.states[tenant][name]
	return known, ok
}

func (s *Source) setState(tenant types.UID, name string, now state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states[tenant] == nil {
		s.states[tenant] = map[string]state{}
	}
	s.states[tenant][name] = now
}

func (s *Source) dropState(tenant types.UID, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.states[tenant], name)
}

func (s *Source) stopped(tenant types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.states, tenant)
}

// objectOf is the tenant's object that a refusal is told on.
func objectOf(ctx context.Context, scope *engine.Scope, key engine.Key) client.Object {
	name, objectKey := engine.SplitDynamic(key)
	typed, dynamic, ok := scope.Dynamic(name)
	if !ok {
		return nil
	}
	virtualObject, ok, err := engine.Get(ctx, typed.VirtualCache, objectKey.NamespacedName(), dynamic.Empty())
	if err != nil || !ok {
		return nil
	}
	return virtualObject
}
