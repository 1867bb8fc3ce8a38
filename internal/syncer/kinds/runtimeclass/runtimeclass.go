// Package runtimeclass mirrors the RuntimeClasses of the host into virtual clusters, so that a pod can name them.
//
// How mirrors are kept is package mirror's business.
package runtimeclass

import (
	"context"

	nodev1 "k8s.io/api/node/v1"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/mirror"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// Name of the kind.
const Name = "runtimeclass"

var class = mirror.Class[*nodev1.RuntimeClass]{
	Name: Name, Empty: func() *nodev1.RuntimeClass { return &nodev1.RuntimeClass{} },
	Translate: translate, NeedsReplacement: needsReplacement, Repair: repair,
	Allowed: func(account *rules.Rules) rules.Classes { return account.RuntimeClasses },
}

// New returns the kind.
func New() engine.Kind { return class.Kind() }

// Check refuses pods that name a class of the host that is not offered to the tenant.
func Check(ctx context.Context, scope *engine.Scope, name string) error {
	return class.Check(ctx, scope, name)
}

func translate(hostClass *nodev1.RuntimeClass) *nodev1.RuntimeClass {
	return &nodev1.RuntimeClass{
		Handler:    hostClass.Handler,
		Overhead:   hostClass.Overhead.DeepCopy(),
		Scheduling: hostClass.Scheduling.DeepCopy(),
	}
}

func needsReplacement(have, want *nodev1.RuntimeClass) bool { return have.Handler != want.Handler }

func repair(have, want *nodev1.RuntimeClass) {
	have.Overhead, have.Scheduling = want.Overhead, want.Scheduling
}
