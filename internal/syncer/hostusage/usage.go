package hostusage

import (
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Limits are what one tenant may keep on the host. Zero means no bound.
type Limits struct {
	// Namespaces are mapped namespaces. Whoever makes them enforces it.
	Namespaces int
	// Objects are copies of the tenant's objects, its namespaces among them.
	Objects int
	// Bytes is the size of these objects together, about as the host stores them.
	Bytes int64
}

// Object names a host object.
type Object struct{ Kind, Namespace, Name string }

// ExceededError says that a tenant has as much on the host as it may have. Its text is fit for the tenant.
type ExceededError struct {
	// What is counted, in the plural.
	What string
	// Limit is how much of it one tenant may have.
	Limit int64
}

// Error implements error.
func (e *ExceededError) Error() string {
	return fmt.Sprintf("this virtual cluster may have %d %s on the host cluster and has them; delete some, or ask the operator of the host cluster for more",
		e.Limit, e.What)
}

// Usage is what all tenants keep on the host. It is safe for concurrent use.
type Usage struct {
	limits Limits

	mu      sync.Mutex
	tenants map[types.UID]*usage // protected by mu
}

// usage is that of one tenant.
type usage struct {
	sizes map[Object]int64
	bytes int64
}

// New makes an empty count.
func New(limits Limits) *Usage { return &Usage{limits: limits, tenants: map[types.UID]*usage{}} }

// Set says that a tenant has a host object of a size in bytes.
func (u *Usage) Set(tenant types.UID, object Object, size int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	have, ok := u.tenants[tenant]
	if !ok {
		have = &usage{sizes: map[Object]int64{}}
		u.tenants[tenant] = have
	}
	have.bytes += size - have.sizes[object]
	have.sizes[object] = size
}

// Remove says that a tenant's host object is gone.
func (u *Usage) Remove(tenant types.UID, object Object) {
	u.mu.Lock()
	defer u.mu.Unlock()
	have, ok := u.tenants[tenant]
	if !ok {
		return
	}
	have.bytes -= have.sizes[object]
	delete(have.sizes, object)
	if len(have.sizes) == 0 {
		delete(u.tenants, tenant)
	}
}

// RemoveNamespace says that a tenant's host namespace is gone, and everything in it. There is no other way to drop much at
// once: a count that began anew while the objects stay, as for a paused tenant, would be a way around the bounds.
func (u *Usage) RemoveNamespace(tenant types.UID, name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	have, ok := u.tenants[tenant]
	if !ok {
		return
	}
	for object, size := range have.sizes {
		if object.Namespace == name || object.Namespace == "" && object.Kind == "Namespace" && object.Name == name {
			have.bytes -= size
			delete(have.sizes, object)
		}
	}
	if len(have.sizes) == 0 {
		delete(u.tenants, tenant)
	}
}

// Forget drops the count of some kinds for some tenants: somebody else has written them for these, and they are counted anew
// as they are seen.
func (u *Usage) Forget(isMeant func(tenant types.UID) bool, kinds ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for tenant, have := range u.tenants {
		if !isMeant(tenant) {
			continue
		}
		for object, size := range have.sizes {
			if slices.Contains(kinds, object.Kind) {
				have.bytes -= size
				delete(have.sizes, object)
			}
		}
	}
}

// Admit tells whether a tenant may have an object of this size; if not, the error is an *ExceededError. What does not grow
// is always admitted, so that a tenant over its bounds can still change and shrink what it has.
func (u *Usage) Admit(tenant types.UID, object Object, size int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	have, ok := u.tenants[tenant]
	if !ok {
		have = &usage{}
	}
	before, exists := have.sizes[object]
	if !exists && u.limits.Objects > 0 && len(have.sizes) >= u.limits.Objects {
		return &ExceededError{What: "objects", Limit: int64(u.limits.Objects)}
	}
	if size > before && u.limits.Bytes > 0 && have.bytes+size-before > u.limits.Bytes {
		return &ExceededError{What: "bytes of objects", Limit: u.limits.Bytes}
	}
	return nil
}

// Of tells how much a tenant has.
func (u *Usage) Of(tenant types.UID) (objects int, bytes int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	have, ok := u.tenants[tenant]
	if !ok {
		return 0, 0
	}
	return len(have.sizes), have.bytes
}
