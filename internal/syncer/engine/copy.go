package engine

import (
	"slices"
	"sort"
	"strings"

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
