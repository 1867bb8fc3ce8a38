// Package csidriver mirrors the CSIDrivers of the host into virtual clusters: what a scheduler, or a person, has to know of how
// the volumes of a driver behave.
//
// How mirrors are kept is package mirror's business. The tokens that the driver gets of pods' ServiceAccounts are between the
// driver and the host, and stay there: nodes act on the host's object only.
package csidriver

import (
	"context"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/mirror"
)

// Name of the kind.
const Name = "csidriver"

var class = mirror.Class[*storagev1.CSIDriver]{
	Name: Name, Empty: func() *storagev1.CSIDriver { return &storagev1.CSIDriver{} },
	Translate: translate, NeedsReplacement: needsReplacement, Repair: repair,
}

// New returns the kind.
func New() engine.Kind { return class.Kind() }

// Hides tells whether the host has a driver of this name that it does not offer.
func Hides(ctx context.Context, scope *engine.Scope, name string) (bool, error) {
	return class.Hides(ctx, scope, name)
}

// SameOffer drops updates of drivers that change nothing about whether they are offered.
func SameOffer(old, new client.Object) bool {
	oldDriver, isOld := old.(*storagev1.CSIDriver)
	newDriver, isNew := new.(*storagev1.CSIDriver)
	return isOld && isNew && class.Offers(oldDriver) == class.Offers(newDriver)
}

func translate(hostDriver *storagev1.CSIDriver) *storagev1.CSIDriver {
	spec := hostDriver.Spec.DeepCopy()
	spec.TokenRequests, spec.ServiceAccountTokenInSecrets = nil, nil
	spec.RequiresRepublish, spec.NodeAllocatableUpdatePeriodSeconds = new(false), nil
	return &storagev1.CSIDriver{Spec: *spec}
}

func needsReplacement(have, want *storagev1.CSIDriver) bool {
	return !equality.Semantic.DeepEqual(have.Spec.AttachRequired, want.Spec.AttachRequired) ||
		!slices.Equal(have.Spec.VolumeLifecycleModes, want.Spec.VolumeLifecycleModes)
}

func repair(have, want *storagev1.CSIDriver) { have.Spec = *want.Spec.DeepCopy() }
