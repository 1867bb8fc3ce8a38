package hostobject

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// isMirror tells whether a tenant's object is a mirror of this package. The label alone would make one of a copy that the tenant
// takes of a mirror.
func isMirror(virtualObject client.Object) bool {
	return virtualObject.GetAnnotations()[mapping.AnnotationMirrorOf] == engine.KeyOf(virtualObject).String()
}

func nameOf(wish clusterv1alpha1.HostObject) string {
	if wish.Namespace == "" {
		return fmt.Sprintf("%s %q", wish.Kind, wish.Name)
	}
	return fmt.Sprintf("%s %q", wish.Kind, wish.Namespace+"/"+wish.Name)
}

// bring makes the mirror what the host's object is. An obstacle says why there must be none.
func (k kind) bring(ctx context.Context, scope *engine.Scope, key engine.Key, wish clusterv1alpha1.HostObject, before state) (state, error) {
	if mapping.IsReserved(key.Name) {
		return state{}, &obstacle{reasonRefused, fmt.Sprintf("%s: names that begin with %q are reserved; set another toName", nameOf(wish), mapping.ReservedPrefix)}
	}
	// Only the metadata is read of what has not changed.
	now, err := k.look(ctx, scope, key, wish)
	if err != nil || now.virtualVersion != "" && now.hostVersion == before.hostVersion && now.virtualVersion == before.virtualVersion {
		return now, err
	}
	hostObject := k.content.empty()
	if err := k.read(ctx, scope, wish, hostObject); err != nil {
		return state{}, err
	}
	if refusal := k.content.refuse(hostObject); refusal != "" {
		return state{}, &obstacle{reasonRefused, nameOf(wish) + ": " + refusal}
	}
	virtualObject, err := k.write(ctx, scope, key, wish, hostObject)
	if err != nil {
		return state{}, err
	}
	return state{hostVersion: versionOf(hostObject), virtualVersion: versionOf(virtualObject)}, nil
}

func versionOf(object client.Object) string {
	return string(object.GetUID()) + "/" + object.GetResourceVersion()
}

// look tells at which versions both sides are. The tenant's is empty if there is no object.
func (k kind) look(ctx context.Context, scope *engine.Scope, key engine.Key, wish clusterv1alpha1.HostObject) (state, error) {
	hostMeta := engine.MetadataOnly(k.content.empty())
	if err := k.read(ctx, scope, wish, hostMeta); err != nil {
		return state{}, err
	}
	now := state{hostVersion: versionOf(hostMeta)}
	virtualMeta, ok, err := engine.Get(ctx, scope.VirtualCache, key.NamespacedName(), engine.MetadataOnly(k.content.empty()))
	if err == nil && ok {
		now.virtualVersion = versionOf(virtualMeta)
	}
	return now, err
}

// read reads an object of the host that is shared with the tenant. What is not there, may not be read and is not shared comes
// to the same: nobody learns by it what there is.
func (k kind) read(ctx context.Context, scope *engine.Scope, wish clusterv1alpha1.HostObject, into client.Object) error {
	hostKey := client.ObjectKey{Namespace: wish.Namespace, Name: wish.Name}
	if hostKey.Namespace == "" {
		hostKey.Namespace = scope.Tenant.Namespace
	}
	err := scope.HostClient.Get(ctx, hostKey, into)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err), err == nil && !k.isShared(scope, into):
		return &obstacle{reasonNotShared, fmt.Sprintf("%s: the host shares no such object with this virtual cluster; it must be in the namespace of the VirtualCluster, or ask the operator of the host to share it", nameOf(wish))}
	case err != nil:
		return &engine.HostError{Action: "get " + nameOf(wish), Err: err}
	}
	return nil
}

// isShared tells whether whoever owns an object of the host lets the tenant have it.
func (k kind) isShared(scope *engine.Scope, hostObject client.Object) bool {
	labels := hostObject.GetLabels()
	isAgents := labels[mapping.LabelID] != "" || labels[mapping.LabelUID] != "" || hostObject.GetNamespace() == k.source.options.SystemNamespace
	switch {
	case isAgents, hostObject.GetDeletionTimestamp() != nil:
		return false
	case labels[mapping.LabelOffer] == "":
		return hostObject.GetNamespace() == scope.Tenant.Namespace
	default:
		return labels[mapping.LabelOffer] == "true"
	}
}

// write makes the tenant's object say what the host's says and returns it.
func (k kind) write(ctx context.Context, scope *engine.Scope, key engine.Key, wish clusterv1alpha1.HostObject, hostObject client.Object) (client.Object, error) {
	have, isInTenant, err := engine.Get(ctx, scope.VirtualClient, key.NamespacedName(), k.content.empty())
	if err != nil {
		return nil, err
	}
	if !isInTenant {
		return k.create(ctx, scope, key, wish, hostObject)
	}
	if !isMirror(have) {
		return nil, &obstacle{reasonNameTaken, fmt.Sprintf("%s: the virtual cluster has a %s %q of its own; delete it, or set another toName", nameOf(wish), k.kind, key)}
	}
	updated, _ := have.DeepCopyObject().(client.Object)
	mark(updated, key)
	canBeFilled := k.content.fill(updated, hostObject)
	if equality.Semantic.DeepEqual(have, updated) {
		return have, nil
	}
	if !canBeFilled {
		if err := k.delete(ctx, scope, have); err != nil {
			return nil, err
		}
		return k.create(ctx, scope, key, wish, hostObject)
	}
	if err := scope.VirtualClient.Update(ctx, updated); err != nil {
		return nil, fmt.Errorf("update the mirror %s %q: %w", k.kind, key, err)
	}
	return updated, nil
}

// mark makes an object a mirror. Labels and annotations of the tenant's own stay.
func mark(object client.Object, key engine.Key) {
	labels, annotations := object.GetLabels(), object.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	labels[mapping.LabelMirror], annotations[mapping.AnnotationMirrorOf] = "true", key.String()
	object.SetLabels(labels)
	object.SetAnnotations(annotations)
}

func (k kind) create(ctx context.Context, scope *engine.Scope, key engine.Key, wish clusterv1alpha1.HostObject, hostObject client.Object) (client.Object, error) {
	made := k.content.empty()
	made.SetNamespace(key.Namespace)
	made.SetName(key.Name)
	mark(made, key)
	k.content.fill(made, hostObject)
	err := scope.VirtualClient.Create(ctx, made)
	switch {
	case err == nil:
		return made, nil
	case apierrors.IsNotFound(err):
		return nil, &obstacle{reasonNoNamespace, fmt.Sprintf("%s: the virtual cluster has no namespace %q; create it there, or set another toNamespace", nameOf(wish), key.Namespace)}
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return nil, &obstacle{reasonRefused, fmt.Sprintf("%s: the virtual cluster refuses it: %v", nameOf(wish), err)}
	default:
		return nil, fmt.Errorf("create the mirror %s %q: %w", k.kind, key, err)
	}
}

// remove takes a mirror away, if there is one. It asks the tenant's API server: what the cache does not show yet may be there.
func (k kind) remove(ctx context.Context, scope *engine.Scope, key engine.Key) error {
	have, ok, err := engine.Get(ctx, scope.VirtualClient, key.NamespacedName(), engine.MetadataOnly(k.content.empty()))
	if err != nil || !ok || !isMirror(have) {
		return err
	}
	return k.delete(ctx, scope, have)
}

func (k kind) delete(ctx context.Context, scope *engine.Scope, mirror client.Object) error {
	uid, version := mirror.GetUID(), mirror.GetResourceVersion()
	err := scope.VirtualClient.Delete(ctx, mirror, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete the mirror %s %q: %w", k.kind, engine.KeyOf(mirror), err)
	}
	return nil
}
