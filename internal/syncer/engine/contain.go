package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What one tenant writes into its objects must not end the agent of all tenants. So a panic of a kind's function stays with
// the key, the object or the index that it was called for.

// errPanic says that a function of a kind panicked.
var errPanic = errors.New("panic")

// reconcile calls a kind. A panic becomes an error of this key, which comes again with growing delay like any other.
func reconcile(ctx context.Context, kind Kind, scope *Scope, key Key) (result Result, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			result, err = Result{}, fmt.Errorf("reconcile %s %q: %w: %v\n%s", kind.Name, key, errPanic, cause, debug.Stack())
		}
	}()
	return kind.Reconcile(ctx, scope, key)
}

// sweepOf calls a kind's Sweep.
func sweepOf(ctx context.Context, kind Kind, scope *Scope) (keys []Key, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			keys, err = nil, fmt.Errorf("sweep: %w: %v\n%s", errPanic, cause, debug.Stack())
		}
	}()
	return kind.Sweep(ctx, scope)
}

// keysOf calls a trigger's Keys. After a panic the object wakes nothing.
func keysOf(log *slog.Logger, trigger Trigger, scope *Scope, object client.Object) (keys []Key) {
	defer contain(log, "Keys", object)
	return trigger.Keys(scope, object)
}

// ignores calls a trigger's Ignore. After a panic the update counts.
func ignores(log *slog.Logger, trigger Trigger, old, new client.Object) (isIgnored bool) {
	if trigger.Ignore == nil {
		return false
	}
	defer contain(log, "Ignore", new)
	return trigger.Ignore(old, new)
}

// valuesOf calls an index's Values. After a panic the object is not found by this index.
func valuesOf(log *slog.Logger, index Index, object client.Object) (values []string) {
	defer contain(log, "index "+index.Field, object)
	return index.Values(object)
}

// contain must be deferred itself.
func contain(log *slog.Logger, what string, object client.Object) {
	if cause := recover(); cause != nil {
		log.Error("Kind panicked", "in", what, "object", fmt.Sprintf("%T %s", object, KeyOf(object)), "error", cause, "stack", string(debug.Stack()))
	}
}
