package storageclass

import (
	"context"

	storagev1 "k8s.io/api/storage/v1"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/mirror"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// Name of the kind.
const Name = "storageclass"

var class = mirror.Class[*storagev1.StorageClass]{
	Name: Name, Empty: func() *storagev1.StorageClass { return &storagev1.StorageClass{} },
	Translate: translate, NeedsReplacement: needsReplacement, Repair: repair,
	Allowed: func(account *rules.Rules) rules.Classes { return account.StorageClasses },
}

// New returns the kind.
func New() engine.Kind { return class.Kind() }

// Check refuses claims that name a class of the host that is not offered to the tenant.
func Check(ctx context.Context, scope *engine.Scope, name string) error {
	return class.Check(ctx, scope, name)
}

// Hides tells whether the host has a class of this name that it does not offer to the tenant.
func Hides(ctx context.Context, scope *engine.Scope, name string) (bool, error) {
	return class.Hides(ctx, scope, name)
}
