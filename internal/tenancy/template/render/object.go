package render

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/parameter"
)

// checkObject refuses what no template may have, whatever the kind.
func (r *rendering) checkObject(object *unstructured.Unstructured) error {
	if object.GetAPIVersion() == "" || object.GetKind() == "" {
		return errors.New("it has no apiVersion or no kind")
	}
	if strings.HasSuffix(object.GetKind(), "List") {
		return errors.New("it is a list; write its objects one by one")
	}
	if object.GroupVersionKind().Group == tenancyv1alpha1.GroupVersion.Group {
		return errors.New("a template cannot make accounts, spaces or templates")
	}
	metadata, ok := object.Object["metadata"].(map[string]any)
	if !ok || object.GetName() == "" {
		return fmt.Errorf("%s has no metadata.name", object.GetKind())
	}
	if problems := validation.NameIsDNSSubdomain(object.GetName(), false); len(problems) > 0 && !isRBAC(object) {
		return fmt.Errorf("%s has a name that cannot be one: %s", object.GetKind(), strings.Join(problems, "; "))
	}
	if shows(object.GetAPIVersion()+"\n"+object.GetKind()+"\n"+object.GetName(), r.secrets) {
		return errors.New("a value from a Secret is in its apiVersion, kind or name, which everybody is shown")
	}
	if namespace := object.GetNamespace(); namespace != "" && namespace != r.target.Namespace {
		return fmt.Errorf("%s %q is for namespace %q, and a template works in its space only", object.GetKind(), object.GetName(), namespace)
	}
	object.SetNamespace(r.target.Namespace)
	if err := checkMetadata(object, metadata); err != nil {
		return fmt.Errorf("%s %q: %w", object.GetKind(), object.GetName(), err)
	}
	for _, other := range r.objects {
		if other.GroupVersionKind().GroupKind() == object.GroupVersionKind().GroupKind() && other.GetName() == object.GetName() {
			return fmt.Errorf("%s %q is there twice", object.GetKind(), object.GetName())
		}
	}
	return nil
}

// isRBAC kinds may have names with colons.
func isRBAC(object *unstructured.Unstructured) bool {
	return object.GroupVersionKind().Group == "rbac.authorization.k8s.io" && !strings.ContainsAny(object.GetName(), "/%")
}

func checkMetadata(object *unstructured.Unstructured, metadata map[string]any) error {
	for key, value := range metadata {
		switch key {
		case "name", "namespace", "labels", "annotations":
		case "creationTimestamp":
			if value != nil {
				return errors.New("metadata.creationTimestamp is the host's to set")
			}
			delete(metadata, key)
		default:
			return fmt.Errorf("metadata.%s is not for templates: name, labels and annotations are", key)
		}
	}
	for _, field := range []string{"labels", "annotations"} {
		if _, _, err := unstructured.NestedStringMap(metadata, field); err != nil {
			return fmt.Errorf("metadata.%s must hold texts only; quote numbers and booleans", field)
		}
	}
	if _, ok := object.GetLabels()[mapping.LabelMandatory]; ok {
		return fmt.Errorf("label %s is set by Matryoshka only", mapping.LabelMandatory)
	}
	return nil
}

// namespaceMetadata checks labels or annotations for a namespace. Those by which a host is told what to do are not a template's to
// set: pod security, who owns the namespace, where its pods run.
func (r *rendering) namespaceMetadata(what string, templates map[string]string, values parameter.Values) (map[string]string, error) {
	result := make(map[string]string, len(templates))
	for key, template := range templates {
		if problems := utilvalidation.IsQualifiedName(key); len(problems) > 0 {
			return nil, problem(tenancyv1alpha1.ReasonRenderFailed, "%s %q of the namespace cannot be one: %s", what, key, strings.Join(problems, "; "))
		}
		if isHosts(key) {
			return nil, problem(tenancyv1alpha1.ReasonRenderFailed, "%s %q of the namespace tells the host cluster what to do and is not for templates", what, key)
		}
		text, _, err := values.Text(template, r.budget)
		if err != nil {
			return nil, problem(tenancyv1alpha1.ReasonRenderFailed, "%s %q of the namespace: %w", what, key, err)
		}
		result[key] = text
	}
	if what == "label" {
		if problems := metav1validation.ValidateLabels(result, field.NewPath("labels")); len(problems) > 0 {
			return nil, problem(tenancyv1alpha1.ReasonRenderFailed, "labels of the namespace: %w", problems.ToAggregate())
		}
	}
	return result, nil
}

// isHosts tells whether a key is of a domain by which parts of a host cluster are told what to do.
func isHosts(key string) bool {
	domain, _, qualified := strings.Cut(key, "/")
	if !qualified {
		return mapping.IsSteering(key)
	}
	for _, kept := range []string{"kubernetes.io", "k8s.io", "matryoshka.dev"} {
		if domain == kept || strings.HasSuffix(domain, "."+kept) {
			return true
		}
	}
	return mapping.IsSteering(key)
}

// first are the kinds that others need, and last those that need others, in this order.
var (
	first = []string{
		"NetworkPolicy", "ResourceQuota", "LimitRange", "ServiceAccount", "Secret", "ConfigMap", "PersistentVolumeClaim", "Role",
		"RoleBinding", "Service",
	}
	last = []string{"Pod", "ReplicaSet", "Deployment", "DaemonSet", "StatefulSet", "Job", "CronJob", "HorizontalPodAutoscaler", "Ingress"}
)

// order puts the objects into the order in which they are applied.
func order(objects []*unstructured.Unstructured) {
	rank := func(object *unstructured.Unstructured) int {
		if i := slices.Index(first, object.GetKind()); i >= 0 {
			return i
		}
		if i := slices.Index(last, object.GetKind()); i >= 0 {
			return len(first) + 1 + i
		}
		return len(first)
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return rank(a) - rank(b) })
}
