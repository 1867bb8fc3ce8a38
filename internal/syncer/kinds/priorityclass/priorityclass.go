// Package priorityclass mirrors those PriorityClasses of the host into virtual clusters that are offered to them.
//
// How mirrors are kept is package mirror's business. A class is offered by the label mapping.LabelOffer only: pods of a
// higher priority take the place of others, so nobody gets one by default. The classes that the system makes itself exist in
// every virtual cluster anyway. A mirror is never the global default, of which there can be one only: that is the tenant's
// to choose, and pods without a class get the host's default on the host.
package priorityclass

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/mirror"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// Name of the kind.
const Name = "priorityclass"

var class = mirror.Class[*schedulingv1.PriorityClass]{
	Name: Name, Empty: func() *schedulingv1.PriorityClass { return &schedulingv1.PriorityClass{} },
	OnlyIfLabelled: true,
	Translate:      translate, NeedsReplacement: needsReplacement, Repair: repair,
	// An account has one for all its pods.
	Allowed: func(account *rules.Rules) rules.Classes { return rules.OnlyClasses(account.PriorityClass) },
}

// New returns the kind.
func New() engine.Kind { return class.Kind() }

// Offered is the class of a host pod whose tenant's pod names this one: that one if the host offers it, and "" if not. In an account
// every pod has the account's. What a tenant makes of a mirror, or under the
// name of one, has no part in it: the host's class decides.
func Offered(ctx context.Context, scope *engine.Scope, name string) (string, error) {
	if account := scope.Tenant.Account; account != nil {
		return account.PriorityClass, nil
	}
	if name == "" {
		return "", nil
	}
	hostClass, isOnHost, err := engine.Get(ctx, scope.HostCache, client.ObjectKey{Name: name}, class.Empty())
	if err != nil {
		return "", fmt.Errorf("get host priorityclass %q: %w", name, err)
	}
	if !isOnHost || !class.Offers(hostClass) {
		return "", nil
	}
	return name, nil
}

func translate(hostClass *schedulingv1.PriorityClass) *schedulingv1.PriorityClass {
	mirrored := &schedulingv1.PriorityClass{Value: hostClass.Value, Description: hostClass.Description}
	if policy := hostClass.PreemptionPolicy; policy != nil {
		mirrored.PreemptionPolicy = new(*policy)
	}
	return mirrored
}

func needsReplacement(have, want *schedulingv1.PriorityClass) bool {
	return have.Value != want.Value || policyOf(have) != policyOf(want)
}

// policyOf fills in the API's default.
func policyOf(class *schedulingv1.PriorityClass) corev1.PreemptionPolicy {
	if class.PreemptionPolicy == nil {
		return corev1.PreemptLowerPriority
	}
	return *class.PreemptionPolicy
}

func repair(have, want *schedulingv1.PriorityClass) {
	have.GlobalDefault, have.Description = false, want.Description
}
