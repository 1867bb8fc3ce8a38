package customresource

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// establishing is how soon to look whether a tenant's API server serves a new definition.
const establishing = 200 * time.Millisecond

// reconcileDefinition brings a definition into the tenant and has its objects followed, or says why not.
func (s *Source) reconcileDefinition(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	uid := scope.Tenant.UID
	asked, ok := wish(scope.Tenant, key.Name)
	if !ok {
		scope.Unfollow(key.Name)
		s.dropState(uid, key.Name)
		return engine.Result{}, nil
	}
	before, _ := s.stateOf(uid, key.Name)
	now := state{asked: asked, builtIn: builtIns[key.Name]}
	err := s.bring(ctx, scope, before, &now)
	var problem *obstacle
	switch {
	case errors.As(err, &problem):
		scope.Unfollow(key.Name)
		s.setState(uid, key.Name, state{asked: asked, problem: problem})
		if problem.reason == reasonPending {
			return engine.Result{RequeueAfter: establishing}, nil
		}
		return engine.Result{RequeueAfter: s.recheck}, nil
	case err != nil:
		return engine.Result{}, err
	}
	// The objects are looked at by the state, so it comes first; and all of them again when it says something new.
	if !reflect.DeepEqual(before.asked, now.asked) || !before.rules.equal(now.rules) || before.hasStatus != now.hasStatus {
		scope.Unfollow(key.Name)
	}
	s.setState(uid, key.Name, now)
	return engine.Result{RequeueAfter: s.recheck}, scope.Follow(kindObject, now.dynamic)
}

// bring fills in the state, having made the tenant's definition what it should be.
func (s *Source) bring(ctx context.Context, scope *engine.Scope, before state, now *state) error {
	resource := schema.ParseGroupResource(now.asked.Name)
	if err := checkGroup(resource); err != nil {
		return err
	}
	hostMeta, ok, err := engine.Get(ctx, scope.HostCache, client.ObjectKey{Name: now.asked.Name}, metaOfDefinition())
	if err != nil {
		return err
	}
	if !ok {
		return &obstacle{reasonNotOnHost, fmt.Sprintf("%s: the host has no such CustomResourceDefinition; ask its operator to install it", now.asked.Name)}
	}
	if err := checkDirection(*now, scope.Tenant); err != nil {
		return err
	}
	if err := checkGrant(ctx, scope, resource, *now, hostMeta.Labels); err != nil {
		return err
	}
	if isUnchanged, err := s.isUnchanged(ctx, scope, before, hostMeta.ResourceVersion); err != nil || isUnchanged {
		asked := now.asked
		*now = before
		now.asked, now.rules = asked, rulesOf(asked, hostMeta)
		return err
	}
	return copyDefinition(ctx, scope, now)
}

// isUnchanged tells, without reading schemas, whether both definitions are still those that were found right.
func (s *Source) isUnchanged(ctx context.Context, scope *engine.Scope, before state, hostVersion string) (bool, error) {
	if !before.isWell() || before.virtualVersion == "" || before.hostVersion != hostVersion ||
		before.dynamic.Everything != watchesEverything(before) {
		return false, nil
	}
	virtualMeta, ok, err := engine.Get(ctx, scope.VirtualClient, client.ObjectKey{Name: before.asked.Name}, metaOfDefinition())
	return ok && virtualMeta.ResourceVersion == before.virtualVersion, err
}

func metaOfDefinition() *metav1.PartialObjectMetadata {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(engine.CustomResourceDefinition)
	return meta
}

// copyDefinition reads the host's definition whole and writes the tenant's.
func copyDefinition(ctx context.Context, scope *engine.Scope, now *state) error {
	hostDefinition, ok, err := getDefinition(ctx, scope.HostClient, now.asked.Name)
	if err != nil {
		return fmt.Errorf("read the host's definition: %w", err)
	}
	if !ok || hostDefinition.DeletionTimestamp != nil {
		return &obstacle{reasonNotOnHost, now.asked.Name + ": the host's CustomResourceDefinition is being deleted"}
	}
	version, ok := syncedVersion(hostDefinition)
	isClusterScoped := hostDefinition.Spec.Scope == apiextensionsv1.ClusterScoped
	if !ok || isClusterScoped && now.builtIn.show == nil {
		return &obstacle{reasonRefused, now.asked.Name + ": only kinds are copied that are namespaced and served; take it out of spec.sync.customResources"}
	}
	virtualDefinition, err := writeDefinition(ctx, scope, tenantDefinition(hostDefinition, version.Name))
	if err != nil {
		return err
	}
	if !isServed(virtualDefinition) {
		return &obstacle{reasonPending, now.asked.Name + ": the virtual cluster does not serve it yet"}
	}
	now.hostVersion, now.virtualVersion = hostDefinition.ResourceVersion, virtualDefinition.ResourceVersion
	now.hasStatus = version.Subresources != nil && version.Subresources.Status != nil
	now.rules = rulesOf(now.asked, hostDefinition)
	now.dynamic = engine.Dynamic{
		Name: now.asked.Name, Plural: hostDefinition.Spec.Names.Plural, Everything: watchesEverything(*now),
		ClusterScoped: isClusterScoped, Into: now.builtIn.into, Unique: now.builtIn.unique,
		GVK: schema.GroupVersionKind{Group: hostDefinition.Spec.Group, Version: version.Name, Kind: hostDefinition.Spec.Names.Kind},
	}
	return nil
}

// writeDefinition makes the tenant's definition this one and returns it as it is stored.
func writeDefinition(ctx context.Context, scope *engine.Scope, wanted *apiextensionsv1.CustomResourceDefinition) (*apiextensionsv1.CustomResourceDefinition, error) {
	have, ok, err := getDefinition(ctx, scope.VirtualClient, wanted.Name)
	if err != nil {
		return nil, fmt.Errorf("read the virtual cluster's definition: %w", err)
	}
	if !ok {
		made, err := encode(wanted)
		if err != nil {
			return nil, err
		}
		if err := scope.VirtualClient.Create(ctx, made); err != nil {
			return nil, definitionError("create", wanted.Name, err)
		}
		return decode(made)
	}
	if have.Labels[mapping.LabelMirror] != "true" {
		return nil, &obstacle{reasonNameTaken, fmt.Sprintf("%s: the virtual cluster has a CustomResourceDefinition of its own of this name; delete it there, with its objects, to have the host's", wanted.Name)}
	}
	updated := have.DeepCopy()
	updated.Spec = wanted.Spec
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&updated.Spec)
	if updated.Annotations == nil {
		updated.Annotations = map[string]string{}
	}
	maps.Copy(updated.Annotations, wanted.Annotations)
	if equality.Semantic.DeepEqual(have, updated) {
		return have, nil
	}
	written, err := encode(updated)
	if err != nil {
		return nil, err
	}
	if err := scope.VirtualClient.Update(ctx, written); err != nil {
		return nil, definitionError("update", wanted.Name, err)
	}
	return decode(written)
}

// definitionError makes an obstacle of what the tenant's API server refuses: trying again changes nothing.
func definitionError(verb, name string, err error) error {
	if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
		return &obstacle{reasonRefused, fmt.Sprintf("%s: the virtual cluster refuses the host's definition: %v", name, err)}
	}
	return fmt.Errorf("%s the virtual cluster's definition %q: %w", verb, name, err)
}

func isServed(definition *apiextensionsv1.CustomResourceDefinition) bool {
	for _, condition := range definition.Status.Conditions {
		if condition.Type == apiextensionsv1.Established {
			return condition.Status == apiextensionsv1.ConditionTrue
		}
	}
	return false
}

func getDefinition(ctx context.Context, from client.Reader, name string) (*apiextensionsv1.CustomResourceDefinition, bool, error) {
	raw := &unstructured.Unstructured{}
	raw.SetGroupVersionKind(engine.CustomResourceDefinition)
	raw, ok, err := engine.Get(ctx, from, client.ObjectKey{Name: name}, raw)
	if err != nil || !ok {
		return nil, false, err
	}
	definition, err := decode(raw)
	return definition, err == nil, err
}

func decode(raw *unstructured.Unstructured) (*apiextensionsv1.CustomResourceDefinition, error) {
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw.Object, definition); err != nil {
		return nil, fmt.Errorf("decode definition %q: %w", raw.GetName(), err)
	}
	return definition, nil
}

func encode(definition *apiextensionsv1.CustomResourceDefinition) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(definition)
	if err != nil {
		return nil, fmt.Errorf("encode definition %q: %w", definition.Name, err)
	}
	raw := &unstructured.Unstructured{Object: content}
	raw.SetGroupVersionKind(engine.CustomResourceDefinition)
	return raw, nil
}
