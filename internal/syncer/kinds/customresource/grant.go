package customresource

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/namespaces"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// readRole is the ClusterRole that sums up what the agent may read of custom resources everywhere.
const readRole = namespaces.CustomResourcesRole + "-read"

// Labels by which whoever runs the host adds a ClusterRole to the agent's rights.
const (
	grantsReading = "rbac.matryoshka.dev/aggregate-to-agent"
	grantsWriting = "rbac.matryoshka.dev/aggregate-to-agent-tenant"
)

// obstacle says why a kind is not kept in step, for the owner of the VirtualCluster.
type obstacle struct{ reason, message string }

func (o *obstacle) Error() string { return o.message }

// Reasons of obstacles.
const (
	reasonRefused    = "Refused"
	reasonNotOnHost  = "NotOnHost"
	reasonNotGranted = "NotGranted"
	reasonNameTaken  = "NameTaken"
	reasonPending    = "Pending"
)

// checkGroup refuses what is no custom resource or is the host's own, whatever the agent's rights are.
func checkGroup(resource schema.GroupResource) error {
	isOurs := resource.Group == "matryoshka.dev" || strings.HasSuffix(resource.Group, ".matryoshka.dev")
	if isOurs || !strings.Contains(resource.Group, ".") || engine.Scheme.IsGroupRegistered(resource.Group) || resource.Group == "apiregistration.k8s.io" ||
		resource.Group == engine.CustomResourceDefinition.Group {
		return &obstacle{reasonRefused, fmt.Sprintf("%s: kinds of this group are never copied; take it out of spec.sync.customResources", resource)}
	}
	return nil
}

// checkGrant looks whether whoever runs the host has granted this kind. The rights are read from the roles, and a wildcard
// counts as none: it was not granted with this kind in mind.
func checkGrant(ctx context.Context, scope *engine.Scope, resource schema.GroupResource, now state, hostLabels map[string]string) error {
	if err := checkRole(ctx, scope, readRole, grantsReading, resource, "get", "list", "watch"); err != nil {
		return err
	}
	if now.builtIn.show != nil {
		return nil // each object says whether it is offered
	}
	if !wantsEverything(now) {
		return checkRole(ctx, scope, namespaces.CustomResourcesRole, grantsWriting, resource, "create", "patch", "delete")
	}
	// The right to read comes with the other direction, too, which must not show tenants what the host keeps beside their own.
	if hostLabels[mapping.LabelOffer] != "true" {
		return &obstacle{reasonNotGranted, fmt.Sprintf("%s: objects of this kind are not shown to virtual clusters; ask the operator of the host to label the CustomResourceDefinition %s=true", resource, mapping.LabelOffer)}
	}
	return nil
}

// checkDirection refuses a direction that makes no sense for a kind that the agent knows.
func checkDirection(now state, tenant tenants.Tenant) error {
	if now.builtIn.show != nil && !wantsEverything(now) {
		return &obstacle{reasonRefused, now.asked.Name + ": objects of this kind are only shown to virtual clusters; set direction: fromHost"}
	}
	if wantsEverything(now) {
		return nil
	}
	for _, needed := range now.builtIn.needs {
		if _, ok := wish(tenant, needed); !ok {
			return &obstacle{reasonRefused, fmt.Sprintf("%s: objects of this kind depend on %s; name that in spec.sync.customResources, too, with direction: fromHost", now.asked.Name, needed)}
		}
	}
	return nil
}

func checkRole(ctx context.Context, scope *engine.Scope, name, label string, resource schema.GroupResource, verbs ...string) error {
	role, ok, err := engine.Get(ctx, scope.HostClient, client.ObjectKey{Name: name}, &rbacv1.ClusterRole{})
	if err != nil {
		return err
	}
	var missing []string
	for _, verb := range verbs {
		if !ok || !slices.ContainsFunc(role.Rules, func(rule rbacv1.PolicyRule) bool { return allows(rule, resource, verb) }) {
			missing = append(missing, verb)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &obstacle{reasonNotGranted, fmt.Sprintf("%s: the agent has no right to %s it; ask the operator of the host for a ClusterRole with the label %s=true that allows this by name", resource, strings.Join(missing, ", "), label)}
}

func allows(rule rbacv1.PolicyRule, resource schema.GroupResource, verb string) bool {
	return len(rule.ResourceNames) == 0 && slices.Contains(rule.APIGroups, resource.Group) &&
		slices.Contains(rule.Resources, resource.Resource) && slices.Contains(rule.Verbs, verb)
}
