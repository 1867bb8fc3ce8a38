package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// ErrPredecessor says that the host still has the copy of an earlier tenant object of the same name.
var ErrPredecessor = errors.New("the copy of an earlier object of the same name is still on the host")

// CreateHost posts the copy of a tenant's object, whose metadata is from HostMeta, after making its namespace. If the host
// already has it as the copy of this very object, hostObject becomes what the host has. The copy of a predecessor
// gives ErrPredecessor. Anything else of that name gives a Refusal: it is never adopted.
func (s *Scope) CreateHost(ctx context.Context, virtualObject, hostObject client.Object) error {
	if err := s.checkName(virtualObject); err != nil {
		return err
	}
	if namespace := virtualObject.GetNamespace(); namespace != "" {
		if _, err := s.EnsureNamespace(ctx, namespace); err != nil {
			return fmt.Errorf("ensure the host namespace of %q: %w", namespace, err)
		}
	}
	if err := s.Admit(hostObject); err != nil {
		return err
	}
	err := s.HostClient.Create(ctx, hostObject)
	NoteWritten(ctx, hostObject, err)
	switch {
	case err == nil:
		noteMade(ctx, virtualObject)
		return nil
	case apierrors.IsAlreadyExists(err):
		return s.claim(ctx, virtualObject, hostObject)
	case isNamespaceGone(err, hostObject.GetNamespace()):
		s.namespaces.Forget(hostObject.GetNamespace())
	}
	return s.hostError("create", hostObject, err)
}

func (s *Scope) checkName(virtualObject client.Object) error {
	if !mapping.IsReserved(virtualObject.GetName()) {
		return nil
	}
	return Refuse(ReasonNotSupported, "names that begin with %q are reserved; choose another name", mapping.ReservedPrefix)
}

func isNamespaceGone(err error, hostNamespace string) bool {
	return hostNamespace != "" && (apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, "NamespaceTerminating"))
}

// claim looks live at what has the name of a copy.
func (s *Scope) claim(ctx context.Context, virtualObject, hostObject client.Object) error {
	key := client.ObjectKeyFromObject(hostObject)
	if err := s.HostClient.Get(ctx, key, hostObject); err != nil {
		return s.hostError("get", hostObject, err)
	}
	if s.IsCopy(hostObject, virtualObject) {
		return nil
	}
	if s.Owns(hostObject) {
		return ErrPredecessor
	}
	return Refuse(ReasonNameTaken, "the host already has a %s named %q here that is not yours; choose another name, or ask the operator to remove it",
		kindOf(hostObject), hostObject.GetName())
}

// UpdateHost writes what change does to a copy of hostObject, if it does anything, and nothing else: what others have written to
// other fields stays, also to fields that this version of the agent does not know. The write fails with a conflict when the
// host object is no longer the one that was read, and the key comes again. It returns the object as written.
//
// change must leave alone what the host owns (allocated addresses, status, defaults).
func UpdateHost[T client.Object](ctx context.Context, s *Scope, hostObject T, change func(hostObject T)) (T, error) {
	updated, _ := hostObject.DeepCopyObject().(T)
	change(updated)
	if equality.Semantic.DeepEqual(hostObject, updated) {
		return hostObject, nil
	}
	if !s.Owns(hostObject) {
		return hostObject, Refuse(ReasonNameTaken, "the host object %q is not yours", hostObject.GetName())
	}
	if err := s.Admit(updated); err != nil {
		return hostObject, err
	}
	data, err := client.MergeFrom(hostObject).Data(updated)
	if err != nil {
		return hostObject, fmt.Errorf("compare host %s %q: %w", kindOf(hostObject), hostObject.GetName(), err)
	}
	if string(data) == "{}" {
		return hostObject, nil
	}
	if err := s.MayPutBack(hostObject, data); err != nil {
		return hostObject, err
	}
	patch, err := onlyTo(hostObject, data)
	if err != nil {
		return hostObject, err
	}
	written, _ := emptyOf(hostObject).(T)
	err = s.HostClient.Patch(ctx, written, client.RawPatch(types.MergePatchType, patch))
	if err != nil {
		NoteWritten(ctx, hostObject, err)
		return hostObject, s.hostError("update", hostObject, err)
	}
	s.HasPutBack(hostObject, data)
	NoteChanged(ctx, hostObject, updated)
	NoteWritten(ctx, written, nil)
	return written, nil
}

// MayPutBack holds a change of a copy back that somebody has undone too often. UpdateHost calls it; who patches what somebody can
// change on the host calls it, too.
func (s *Scope) MayPutBack(hostObject client.Object, change []byte) error {
	if s.run == nil {
		return nil // a scope of a test
	}
	return s.run.engine.own.mayPutBack(hostObject.GetUID(), change)
}

// HasPutBack counts a change, the one that MayPutBack was asked about, once the host has taken it.
func (s *Scope) HasPutBack(hostObject client.Object, change []byte) {
	if s.run != nil {
		s.run.engine.own.hasPutBack(hostObject.GetUID(), change)
	}
}

// onlyTo makes a merge patch one that is for this state of this object only.
func onlyTo(hostObject client.Object, data []byte) ([]byte, error) {
	var content map[string]any
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("read the change of host %s %q: %w", kindOf(hostObject), hostObject.GetName(), err)
	}
	metadata, _ := content["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		content["metadata"] = metadata
	}
	metadata["uid"], metadata["resourceVersion"] = hostObject.GetUID(), hostObject.GetResourceVersion()
	return json.Marshal(content)
}

// emptyOf is an empty object of the same type and name.
func emptyOf(object client.Object) client.Object {
	empty, _ := reflect.New(reflect.TypeOf(object).Elem()).Interface().(client.Object)
	if _, isTyped := object.(interface{ Size() int }); !isTyped {
		empty.GetObjectKind().SetGroupVersionKind(object.GetObjectKind().GroupVersionKind())
	}
	empty.SetNamespace(object.GetNamespace())
	empty.SetName(object.GetName())
	return empty
}

// PatchVirtualStatus writes what change does to the status of a tenant's object, if it does anything, as a merge patch
// that fails with a conflict if the object has another UID by now.
func PatchVirtualStatus[T client.Object](ctx context.Context, s *Scope, virtualObject T, change func(virtualObject T)) error {
	updated, _ := virtualObject.DeepCopyObject().(T)
	change(updated)
	if equality.Semantic.DeepEqual(virtualObject, updated) {
		return nil
	}
	patch := client.MergeFromWithOptions(virtualObject, client.MergeFromWithOptimisticLock{})
	if err := s.VirtualClient.Status().Patch(ctx, updated, patch); err != nil {
		return fmt.Errorf("patch status of %s %q: %w", kindOf(virtualObject), KeyOf(virtualObject), err)
	}
	return nil
}

// DeleteHost deletes a host copy, exactly this one. An object that is already gone is no error. Options are added to
// the precondition of its UID; others of theirs take its place.
func (s *Scope) DeleteHost(ctx context.Context, hostObject client.Object, options ...client.DeleteOption) error {
	if !s.Owns(hostObject) {
		return nil
	}
	uid := hostObject.GetUID()
	options = append([]client.DeleteOption{client.Preconditions{UID: &uid}}, options...)
	if err := s.HostClient.Delete(ctx, hostObject, options...); err != nil && !apierrors.IsNotFound(err) {
		return s.hostError("delete", hostObject, err)
	}
	return nil
}

// DeleteOrphan deletes a host copy whose tenant object is not in the cache, after the tenant's API server said that it
// is really gone or another one. empty is an empty object of the tenant's type.
func (s *Scope) DeleteOrphan(ctx context.Context, empty client.Object, hostObject client.Object, options ...client.DeleteOption) error {
	key, ok := s.TenantKey(hostObject)
	if !ok {
		return nil
	}
	gone, err := s.VirtualGone(ctx, empty, key, types.UID(hostObject.GetAnnotations()[mapping.AnnotationTenantUID]))
	if err != nil || !gone {
		return err
	}
	return s.DeleteHost(ctx, hostObject, options...)
}

// VirtualGone asks the tenant's API server whether the object of this key and UID no longer exists. empty is an empty
// object of its type.
func (s *Scope) VirtualGone(ctx context.Context, empty client.Object, key Key, uid types.UID) (bool, error) {
	live := &metav1.PartialObjectMetadata{}
	live.SetGroupVersionKind(gvkOf(empty))
	err := s.VirtualClient.Get(ctx, key.NamespacedName(), live)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("get %s %q: %w", kindOf(empty), key, err)
	}
	return live.UID != uid, nil
}

func (s *Scope) hostError(verb string, hostObject client.Object, err error) error {
	return &HostError{Action: fmt.Sprintf("%s %s %q", verb, kindOf(hostObject), client.ObjectKeyFromObject(hostObject)), Err: err}
}
