package engine

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// HostMeta is the metadata of the host copy of a tenant's object: its host name and namespace, the labels and
// annotations of the tenant that may go down, and the marks of ownership, which a tenant cannot set. Finalizers and
// owner references stay in the tenant. also are keys of annotations that go down beside those that may for every kind; a kind
// that names some has looked at their values.
func (s *Scope) HostMeta(virtualObject client.Object, also ...string) metav1.ObjectMeta {
	labels := copied(virtualObject.GetLabels(), mapping.IsCopiedLabel)
	annotations := copied(virtualObject.GetAnnotations(), func(key string) bool {
		return mapping.IsCopiedAnnotation(key) || slices.Contains(also, key) && !mapping.IsSteering(key)
	})
	for key, value := range annotations {
		if len(value) > maxAnnotation {
			delete(annotations, key)
			s.tellNotCopied(virtualObject, key)
		}
	}
	// The lists remember what came from the tenant, so that an update removes what the tenant removed and leaves what
	// the host's own controllers added.
	copiedLabels, copiedAnnotations := keyList(labels), keyList(annotations)
	if copiedLabels != "" {
		annotations[mapping.AnnotationCopiedLabels] = copiedLabels
	}
	if copiedAnnotations != "" {
		annotations[mapping.AnnotationCopiedAnnotations] = copiedAnnotations
	}
	annotations[mapping.AnnotationTenantUID] = string(virtualObject.GetUID())
	meta := metav1.ObjectMeta{Name: s.HostName(virtualObject), Labels: labels, Annotations: annotations}
	if meta.Name != virtualObject.GetName() {
		annotations[mapping.AnnotationTenantName] = virtualObject.GetName()
	}
	for key, value := range s.OwnerLabels(virtualObject.GetNamespace()) {
		labels[key] = value
	}
	if namespace := virtualObject.GetNamespace(); namespace != "" {
		meta.Namespace = s.HostNamespace(namespace)
	}
	return meta
}

const (
	// maxAnnotation bounds the value of an annotation that goes down: those that may are small by what they are for.
	maxAnnotation = 4 << 10
	// maxMetadata bounds the labels and annotations of a host object together.
	maxMetadata = 128 << 10
)

// ReasonNotApplied is the reason of the event on an object whose copy is without a part of what it asks for.
const ReasonNotApplied = "NotApplied"

func (s *Scope) tellNotCopied(virtualObject client.Object, key string) {
	if s.events == nil {
		return // a scope of a test
	}
	s.Event(virtualObject, corev1.EventTypeWarning, ReasonNotApplied,
		fmt.Sprintf("the annotation %q is larger than %d KiB and stays in the virtual cluster", key, maxAnnotation>>10))
}

// checkMetadata refuses a host object whose labels and annotations are too large: each change of it would write them all.
func checkMetadata(hostObject client.Object) error {
	size := 0
	for _, pairs := range []map[string]string{hostObject.GetLabels(), hostObject.GetAnnotations()} {
		for key, value := range pairs {
			size += len(key) + len(value)
		}
	}
	if size > maxMetadata {
		return Refuse(ReasonLimitReached, "its labels and annotations take %d KiB on the host, of which it may have %d; remove some", size>>10, maxMetadata>>10)
	}
	return nil
}

// OwnerLabels are the labels that every host object of this tenant carries. An empty namespace means cluster-scoped.
func (s *Scope) OwnerLabels(tenantNamespace string) map[string]string {
	labels := map[string]string{
		mapping.LabelID:        s.Tenant.ID,
		mapping.LabelUID:       string(s.Tenant.UID),
		mapping.LabelName:      s.Tenant.Name,
		mapping.LabelNamespace: s.Tenant.Namespace,
	}
	if tenantNamespace != "" {
		labels[mapping.LabelTenantNamespace] = tenantNamespace
	}
	return labels
}

// SetHostMeta brings labels and annotations of an existing copy to those of desired (from HostMeta). What neither the
// tenant nor the agent put there stays.
func SetHostMeta(hostObject client.Object, desired metav1.ObjectMeta) {
	was := hostObject.GetAnnotations()
	hostObject.SetLabels(merged(hostObject.GetLabels(), was[mapping.AnnotationCopiedLabels], desired.Labels))
	annotations := merged(was, was[mapping.AnnotationCopiedAnnotations], desired.Annotations)
	for _, list := range []string{mapping.AnnotationCopiedLabels, mapping.AnnotationCopiedAnnotations} {
		if _, ok := desired.Annotations[list]; !ok {
			delete(annotations, list)
		}
	}
	hostObject.SetAnnotations(annotations)
}

func merged(current map[string]string, copiedBefore string, desired map[string]string) map[string]string {
	result := make(map[string]string, len(current)+len(desired))
	for key, value := range current {
		result[key] = value
	}
	for _, key := range strings.Split(copiedBefore, ",") {
		delete(result, key)
	}
	for key, value := range desired {
		result[key] = value
	}
	return result
}

func copied(from map[string]string, allowed func(key string) bool) map[string]string {
	result := make(map[string]string, len(from)+6)
	for key, value := range from {
		if allowed(key) {
			result[key] = value
		}
	}
	return result
}

// keyList joins keys; a label or annotation key has no comma.
func keyList(from map[string]string) string {
	keys := make([]string, 0, len(from))
	for key := range from {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return strings.Join(keys, ",")
}
