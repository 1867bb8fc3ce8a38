package engine

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// impatient reads a cache as a trigger may: what is asked of a type that is not known yet is an error. Otherwise the cache would let
// the handler wait until it is known, for as long as a tenant's API server likes. Handlers of the host's objects are shared by all
// tenants; and the cache of a tenant that is let go waits for its handlers, which would then wait for it.
//
// Nothing is missed by that: as soon as a tenant's objects are known, all of them are looked at.
type impatient struct{ client.Reader }

// over is a context that has ended: a cache that is asked with it answers at once.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// Get implements client.Reader.
func (i impatient) Get(_ context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	return i.Reader.Get(over, key, object, options...)
}

// List implements client.Reader.
func (i impatient) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	return i.Reader.List(over, list, options...)
}
