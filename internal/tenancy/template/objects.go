package template

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/render"
)

// maxMessage is how much of an error a condition shows.
const maxMessage = 1024

// writer writes the objects of one instance. Its contexts say as whom.
type writer struct {
	host     client.Client
	mapper   meta.RESTMapper
	instance *tenancyv1alpha1.TemplateInstance
	// isMandatory marks the objects as such.
	isMandatory bool
	// areRightsNew tells that the host may not know the rights of the identity yet.
	areRightsNew bool
	// hasSecrets tells that the host's words must not be repeated: they may show values.
	hasSecrets bool
}

// item is one object, as it is wanted and as it is. live is nil if it does not exist.
type item struct {
	wanted *unstructured.Unstructured
	live   *unstructured.Unstructured
	state  tenancyv1alpha1.ObjectState
}

func (i *item) name() string { return i.wanted.GetKind() + "/" + i.wanted.GetName() }

func (w *writer) manager() client.FieldOwner {
	return client.FieldOwner("matryoshka-template-" + w.instance.Name)
}

// inspect looks at what there is and refuses what the host has no namespaced kind for and what belongs to somebody else.
func (w *writer) inspect(ctx context.Context, objects []*unstructured.Unstructured) ([]*item, error) {
	items := make([]*item, len(objects))
	for i, object := range objects {
		items[i] = &item{wanted: object, state: tenancyv1alpha1.ObjectPending}
	}
	for _, item := range items {
		if err := w.checkKind(item.wanted.GroupVersionKind()); err != nil {
			item.state = tenancyv1alpha1.ObjectRefused
			return items, err
		}
		live, err := w.get(ctx, item.wanted)
		if err != nil {
			item.state = tenancyv1alpha1.ObjectRefused
			return items, w.refused("read", item.wanted, err)
		}
		if live == nil {
			continue
		}
		if !w.owns(live) {
			item.state = tenancyv1alpha1.ObjectTaken
			return items, problem(tenancyv1alpha1.ReasonObjectTaken, "%s exists already and does not belong to this instance; delete it, or give it another name", item.name())
		}
		item.live = live
		item.state = tenancyv1alpha1.ObjectApplied
	}
	return items, nil
}

func (w *writer) checkKind(kind schema.GroupVersionKind) error {
	found, err := w.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	switch {
	case meta.IsNoMatchError(err):
		return problem(tenancyv1alpha1.ReasonObjectRefused, "the host cluster has no kind %s of %s", kind.Kind, kind.GroupVersion())
	case err != nil:
		return fmt.Errorf("find kind %s: %w", kind.Kind, err)
	case found.Scope.Name() != meta.RESTScopeNameNamespace:
		return problem(tenancyv1alpha1.ReasonObjectRefused, "a %s belongs to the whole host cluster, and a template works in its space only", kind.Kind)
	}
	return nil
}

func (w *writer) get(ctx context.Context, wanted *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(wanted.GroupVersionKind())
	err := w.host.Get(ctx, client.ObjectKeyFromObject(wanted), live)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return live, err
}

// owns tells whether an object is of this instance and of no other of the same name.
func (w *writer) owns(object client.Object) bool {
	return slices.ContainsFunc(object.GetOwnerReferences(), func(owner metav1.OwnerReference) bool { return owner.UID == w.instance.UID })
}

// body is what is applied: what the template says, whose it is, and the very object that it is for.
func (w *writer) body(item *item) ([]byte, error) {
	object := item.wanted.DeepCopy()
	object.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: tenancyv1alpha1.GroupVersion.String(), Kind: "TemplateInstance", Name: w.instance.Name, UID: w.instance.UID,
	}})
	if w.isMandatory {
		labels := object.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[mapping.LabelMandatory] = "true"
		object.SetLabels(labels)
	}
	if item.live != nil {
		object.SetUID(item.live.GetUID())
	}
	return json.Marshal(object)
}

// patch applies one object. What exists is ours and is forced; what does not is not: somebody else may make it at this moment.
func (w *writer) patch(ctx context.Context, item *item, options ...client.PatchOption) (*unstructured.Unstructured, error) {
	body, err := w.body(item)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", item.name(), err)
	}
	result := &unstructured.Unstructured{}
	result.SetGroupVersionKind(item.wanted.GroupVersionKind())
	result.SetNamespace(item.wanted.GetNamespace())
	result.SetName(item.wanted.GetName())
	options = append(options, w.manager(), client.FieldValidation(metav1.FieldValidationStrict))
	if item.live != nil {
		options = append(options, client.ForceOwnership)
	}
	return result, w.host.Patch(ctx, result, client.RawPatch(types.ApplyPatchType, body), options...)
}

// try asks the host whether it would accept the objects, without writing them.
func (w *writer) try(ctx context.Context, items []*item) error {
	for _, item := range items {
		if needsRole(item, items) {
			continue
		}
		if _, err := w.patch(ctx, item, client.DryRunAll); err != nil {
			item.state = tenancyv1alpha1.ObjectRefused
			return w.refused("accept", item.wanted, err)
		}
	}
	return nil
}

// needsRole tells whether an object cannot be tried: a RoleBinding whose Role is yet to be made.
func needsRole(binding *item, items []*item) bool {
	if binding.wanted.GroupVersionKind().GroupKind() != (schema.GroupKind{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}) {
		return false
	}
	kind, _, kindErr := unstructured.NestedString(binding.wanted.Object, "roleRef", "kind")
	name, _, nameErr := unstructured.NestedString(binding.wanted.Object, "roleRef", "name")
	if kindErr != nil || nameErr != nil {
		return false
	}
	return slices.ContainsFunc(items, func(other *item) bool {
		return other.live == nil && other.wanted.GetKind() == kind && kind == "Role" && other.wanted.GetName() == name
	})
}

// outcome is what an attempt has done.
type outcome struct {
	// created and changed are the names of objects that were not there and that were not as they should.
	created, changed []*item
}

// apply writes the objects that isSettled does not know to be as they should.
func (w *writer) apply(ctx context.Context, items []*item, isSettled func(*unstructured.Unstructured) bool) (outcome, error) {
	var done outcome
	for _, item := range items {
		if item.live != nil && isSettled(item.live) {
			continue
		}
		result, err := w.patch(ctx, item)
		if err != nil {
			item.state = tenancyv1alpha1.ObjectRefused
			return done, w.refused("apply", item.wanted, err)
		}
		switch {
		case item.live == nil:
			done.created = append(done.created, item)
		case !isSame(item.live, result):
			done.changed = append(done.changed, item)
		}
		item.live, item.state = result, tenancyv1alpha1.ObjectApplied
	}
	return done, nil
}

// isSame compares two states of an object without what every write or the host itself changes.
func isSame(before, after *unstructured.Unstructured) bool {
	return equal(content(before), content(after))
}

func content(object *unstructured.Unstructured) map[string]any {
	object = object.DeepCopy()
	object.SetManagedFields(nil)
	object.SetResourceVersion("")
	object.SetGeneration(0)
	delete(object.Object, "status")
	return object.Object
}

func equal(a, b map[string]any) bool {
	first, errFirst := json.Marshal(a)
	second, errSecond := json.Marshal(b)
	return errFirst == nil && errSecond == nil && bytes.Equal(first, second)
}

// remove deletes objects of the instance, last ones first. What is gone or belongs to somebody else is left alone.
func (w *writer) remove(ctx context.Context, objects []tenancyv1alpha1.TemplatedObject) (left []tenancyv1alpha1.TemplatedObject, err error) {
	var problems []error
	for _, object := range slices.Backward(objects) {
		err := w.removeOne(ctx, object)
		if err != nil {
			object.State = tenancyv1alpha1.ObjectLeaving
			left = append(left, object)
			problems = append(problems, err)
		}
	}
	slices.Reverse(left)
	return left, errors.Join(problems...)
}

func (w *writer) removeOne(ctx context.Context, object tenancyv1alpha1.TemplatedObject) error {
	wanted := &unstructured.Unstructured{}
	wanted.SetAPIVersion(object.APIVersion)
	wanted.SetKind(object.Kind)
	wanted.SetNamespace(w.instance.Namespace)
	wanted.SetName(object.Name)
	live, err := w.get(ctx, wanted)
	if meta.IsNoMatchError(err) {
		return nil // its kind is gone, and it with it
	}
	if apierrors.IsForbidden(err) && object.UID == "" {
		return nil // nothing is made that cannot be read
	}
	if err != nil {
		return w.refused("read", wanted, err)
	}
	if live == nil || !w.owns(live) || !live.GetDeletionTimestamp().IsZero() {
		return nil
	}
	uid := live.GetUID()
	err = w.host.Delete(ctx, live, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return w.refused("delete", wanted, err)
	}
	return nil
}

// refused says why the host did not do something, in words that show no secrets. What is otherwise the next time is tried again
// soon.
func (w *writer) refused(verb string, object *unstructured.Unstructured, err error) error {
	if w.areRightsNew && apierrors.IsForbidden(err) {
		return fmt.Errorf("%s %s/%s: %w", verb, object.GetKind(), object.GetName(), errNotYet)
	}
	var status apierrors.APIStatus
	isAnswer := errors.As(err, &status)
	if !w.hasSecrets && (!isAnswer || isTransient(err)) {
		return fmt.Errorf("%s %s/%s: %w", verb, object.GetKind(), object.GetName(), err)
	}
	reason, said := tenancyv1alpha1.ReasonObjectRefused, err.Error()
	if !isAnswer || isTransient(err) {
		reason = tenancyv1alpha1.ReasonApplyFailed
	}
	if w.hasSecrets {
		said = "the host's words are not shown, since values from Secrets are in the template"
		if isAnswer {
			said = withoutValues(status.Status())
		}
	}
	return problem(reason, "cannot %s %s/%s: %s", verb, object.GetKind(), object.GetName(), cut(said))
}

func isTransient(err error) bool {
	if apierrors.IsInternalError(err) {
		// This is how the host says that an object has a field that its kind has not.
		return !strings.Contains(err.Error(), "failed to create typed patch object")
	}
	return apierrors.IsConflict(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err)
}

// withoutValues are the reason and the fields of an answer. The rest of it may show what was sent.
func withoutValues(status metav1.Status) string {
	said := string(status.Reason)
	if status.Details == nil {
		return said
	}
	var fields []string
	for _, cause := range status.Details.Causes {
		fields = append(fields, strings.TrimSpace(cause.Field+" "+string(cause.Type)))
	}
	if len(fields) > 0 {
		said += ": " + strings.Join(fields, ", ")
	}
	return said + " (the host's words are not shown, since values from Secrets are in the template)"
}

func cut(text string) string {
	if len(text) > maxMessage {
		return strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}

func problem(reason, format string, arguments ...any) error {
	return render.NewProblem(reason, fmt.Errorf(format, arguments...))
}
