package engine

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// Side is one of the two API servers an object can live in.
type Side int

// The sides.
const (
	Virtual Side = iota
	Host
)

// String returns "virtual" or "host".
func (s Side) String() string {
	if s == Host {
		return "host"
	}
	return "virtual"
}

// Lane says which keys of a tenant are served first.
type Lane int

// The lanes, first served first. The zero value is LaneNormal's place: kinds that say nothing are normal.
const (
	LaneNormal Lane = iota
	// LaneFirst is for pods and what pods wait for.
	LaneFirst
	// LaneLast is for what nobody waits for, such as events.
	LaneLast
)

// Key names an object of one tenant by the tenant's own names. Namespace is empty for cluster-scoped kinds.
type Key struct {
	Namespace string
	Name      string
}

// String returns namespace/name, or the name.
func (k Key) String() string { return types.NamespacedName(k).String() }

// NamespacedName is the key as client-go wants it.
func (k Key) NamespacedName() types.NamespacedName { return types.NamespacedName(k) }

// KeyOf is the key of a tenant's object.
func KeyOf(virtualObject client.Object) Key {
	return Key{Namespace: virtualObject.GetNamespace(), Name: virtualObject.GetName()}
}

// Result says when to look at a key again although nothing changed. The zero value means never.
type Result struct {
	RequeueAfter time.Duration
}

// Trigger says which objects wake a kind.
type Trigger struct {
	// Side that is watched.
	Side Side

	// Object is an empty object of the watched type. A *metav1.PartialObjectMetadata with its GroupVersionKind set watches
	// the metadata only; use it for what is large or secret.
	Object client.Object

	// Unfiltered watches all host objects of the type. Without it only those with the label mapping.LabelID are seen.
	// It is an error if two triggers for one host type differ in it. Ignored on the virtual side.
	Unfiltered bool

	// Everybody makes a change of a host object concern every tenant, whoever's it is: for what only one of them can have. Such
	// objects of others are not looked at when a tenant is taken up. Ignored on the virtual side.
	Everybody bool

	// Keys maps a watched object to the keys to look at. Nil means the object itself: its own namespace and name on
	// the virtual side, Scope.TenantKey on the host side. It must not do I/O; it may read the caches of the scope.
	//
	// On the host side it is called for each tenant that the object may concern: the one that its label names, else the
	// one whose mapped namespace it is in, else, for a cluster-scoped object without label, every tenant. See also Everybody.
	Keys func(scope *Scope, object client.Object) []Key

	// Ignore drops updates that mean nothing, such as a node's heartbeat. Nil drops none. Resyncs do not exist.
	Ignore func(old, new client.Object) bool
}

// Index is a cache index that a kind reads with client.MatchingFields.
type Index struct {
	Side   Side
	Object client.Object
	// Field is the name of the index; begin it with the kind's name to keep it unique.
	Field  string
	Values func(object client.Object) []string
}

// Kind is one kind of object that is kept in step. It is data and functions; a constructor New in
// internal/syncer/kinds/<kind> returns it.
type Kind struct {
	// Name is the lower-case singular kind, such as "service"; unique; used in metrics and by Scope.Enqueue.
	Name string

	// Object is an empty object of the tenant's type: refusals are told in events on the object of this type that the key
	// names. Nil means that there is none to tell.
	Object client.Object

	Lane Lane

	Triggers []Trigger
	Indexes  []Index

	// Reconcile brings the two sides of one key together. It reads from the scope's caches, writes with the scope's
	// methods and never sleeps. An error makes the key come again with growing delay; the engine logs it and, if it is
	// a Refusal or a HostError, tells it in an event. It must be idempotent: a second call writes nothing.
	Reconcile func(ctx context.Context, scope *Scope, key Key) (Result, error)

	// Sweep returns further keys to look at when a tenant is taken up. It is needed only for host copies that no trigger
	// watches: the engine itself looks at every watched object of both sides. Nil means none.
	Sweep func(ctx context.Context, scope *Scope) ([]Key, error)

	// Asked returns the keys that a tenant's spec asks for, for a kind that works on what is named there. It is called when a
	// tenant is taken up and when its spec changes, and does no I/O. Nil means none.
	Asked func(tenant tenants.Tenant) []Key

	// ObjectOf finds the object to tell about a refusal, in place of Object, for a kind of several types. Nil means Object is it;
	// a nil result that there is nobody to tell.
	ObjectOf func(ctx context.Context, scope *Scope, key Key) client.Object

	// Stopped is called after the last Reconcile of a tenant that is no longer served, so that the kind can forget what
	// it remembers of it. Nil means nothing is remembered.
	Stopped func(tenant types.UID)
}
