package engine

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostusage"
)

// Admit refuses a host object with which the tenant would have more on the host than it may, or that has too many labels. CreateHost and UpdateHost call
// it; who patches what a tenant can make larger calls it too.
func (s *Scope) Admit(hostObject client.Object) error {
	if err := checkMetadata(hostObject); err != nil {
		return err
	}
	return refuseExceeded(s.usage.Admit(s.Tenant.UID, usageKey(hostObject), sizeOf(hostObject)))
}

// refuseExceeded makes a Refusal of a limit that is reached; other errors stay as they are.
func refuseExceeded(err error) error {
	exceeded := (*hostusage.ExceededError)(nil)
	if errors.As(err, &exceeded) {
		return Refuse(ReasonLimitReached, "%s", exceeded.Error())
	}
	return err
}

func usageKey(hostObject client.Object) hostusage.Object {
	return hostusage.Object{Kind: kindOf(hostObject), Namespace: hostObject.GetNamespace(), Name: hostObject.GetName()}
}

// sizeOf is about what the host stores. Of an object that is known by its metadata only it is 0.
func sizeOf(hostObject client.Object) int64 {
	switch typed := hostObject.(type) {
	case interface{ Size() int }:
		return int64(typed.Size())
	case *unstructured.Unstructured:
		encoded, err := typed.MarshalJSON()
		if err != nil {
			return 0 // what cannot be encoded cannot be stored
		}
		return int64(len(encoded))
	}
	return 0
}

// usageOwner is the tenant that a host object counts for; ok is false for what the agent makes for itself outside of mapped
// namespaces, and for the host's own.
func usageOwner(hostObject client.Object) (tenant types.UID, ok bool) {
	labels := hostObject.GetLabels()
	return types.UID(labels[mapping.LabelUID]), labels[mapping.LabelUID] != "" && labels[mapping.LabelTenantNamespace] != ""
}

// usageHandler counts what the cache of the host shows.
func usageHandler(usage *hostusage.Usage) toolscache.ResourceEventHandler {
	set := func(object any) {
		hostObject, ok := object.(client.Object)
		if !ok {
			return
		}
		if tenant, ok := usageOwner(hostObject); ok {
			usage.Set(tenant, usageKey(hostObject), sizeOf(hostObject))
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, object any) { set(object) },
		DeleteFunc: func(object any) {
			if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
				object = unknown.Obj
			}
			hostObject, ok := object.(client.Object)
			if !ok {
				return
			}
			tenant, ok := usageOwner(hostObject)
			if !ok {
				return
			}
			if _, isNamespace := hostObject.(*corev1.Namespace); isNamespace {
				usage.RemoveNamespace(tenant, hostObject.GetName()) // with what no watch shows
				return
			}
			usage.Remove(tenant, usageKey(hostObject))
		},
	}
}

// meteredClient counts the copies that no watch shows, ConfigMaps and Secrets, as they are read and written.
type meteredClient struct {
	client.Client

	usage *hostusage.Usage
}

// unwatchedKinds are those that a meteredClient counts. While another replica serves a tenant nobody here hears of them.
var unwatchedKinds = []string{"ConfigMap", "Secret"}

// isUnwatchedCopy leaves out what the agent makes for itself beside a pod: it goes with the pod, without a call.
func isUnwatchedCopy(hostObject client.Object) bool {
	switch hostObject.(type) {
	case *corev1.Secret, *corev1.ConfigMap:
		return metav1.HasAnnotation(metav1.ObjectMeta{Annotations: hostObject.GetAnnotations()}, mapping.AnnotationTenantUID)
	}
	return false
}

func (m meteredClient) saw(hostObject client.Object, err error) error {
	if tenant, ok := usageOwner(hostObject); ok && err == nil && isUnwatchedCopy(hostObject) {
		m.usage.Set(tenant, usageKey(hostObject), sizeOf(hostObject))
	}
	return err
}

func (m meteredClient) Get(ctx context.Context, key client.ObjectKey, hostObject client.Object, options ...client.GetOption) error {
	return m.saw(hostObject, m.Client.Get(ctx, key, hostObject, options...))
}

func (m meteredClient) Create(ctx context.Context, hostObject client.Object, options ...client.CreateOption) error {
	return m.saw(hostObject, m.Client.Create(ctx, hostObject, options...))
}

func (m meteredClient) Update(ctx context.Context, hostObject client.Object, options ...client.UpdateOption) error {
	return m.saw(hostObject, m.Client.Update(ctx, hostObject, options...))
}

func (m meteredClient) Patch(ctx context.Context, hostObject client.Object, patch client.Patch, options ...client.PatchOption) error {
	return m.saw(hostObject, m.Client.Patch(ctx, hostObject, patch, options...))
}

func (m meteredClient) Delete(ctx context.Context, hostObject client.Object, options ...client.DeleteOption) error {
	err := m.Client.Delete(ctx, hostObject, options...)
	if tenant, ok := usageOwner(hostObject); ok && (err == nil || apierrors.IsNotFound(err)) && isUnwatchedCopy(hostObject) {
		m.usage.Remove(tenant, usageKey(hostObject))
	}
	return err
}
