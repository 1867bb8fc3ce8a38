package accountquota

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
)

// counted are the resources of a quota that are numbers of objects, and measured those that are amounts.
var (
	counted = []string{
		"pods", "services", "services.loadbalancers", "services.nodeports", "replicationcontrollers",
		"secrets", "configmaps", "persistentvolumeclaims",
	}
	measured = []string{
		"cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage",
		"limits.cpu", "limits.memory", "limits.ephemeral-storage",
	}
)

// CheckObject says what is wrong with the amounts of an account quota.
func CheckObject(raw map[string]any) error {
	// What is missing or of another form is what the API server says best.
	hard, _, _ := unstructured.NestedMap(raw, "spec", "quota", "hard")
	for _, name := range slices.Sorted(maps.Keys(hard)) {
		if err := checkAmount(name, fmt.Sprint(hard[name])); err != nil {
			return fmt.Errorf("spec.quota.hard: %w", err)
		}
	}
	return nil
}

// checkAmount says what is wrong with one amount.
func checkAmount(name, text string) error {
	if err := checkResource(name); err != nil {
		return err
	}
	amount, err := resource.ParseQuantity(text)
	if err != nil {
		return fmt.Errorf("%s: %q is not a quantity; write 500m or 2 for CPU, 512Mi or 4Gi for bytes, 20 for numbers", name, text)
	}
	if amount.Sign() < 0 {
		return fmt.Errorf("%s: %s is negative; 0 allows none", name, text)
	}
	if isWhole := amount.RoundUp(0); !isWhole && !slices.Contains(inThousandths, name) {
		return fmt.Errorf("%s: %s is not a whole number", name, text)
	}
	return nil
}

// inThousandths are the resources of which there can be a part.
var inThousandths = []string{"cpu", "requests.cpu", "limits.cpu"}

// checkResource says whether a quota can bound it. A name that nothing counts would bound nothing, in silence.
func checkResource(name string) error {
	if slices.Contains(counted, name) || slices.Contains(measured, name) {
		return nil
	}
	if name == "resourcequotas" || name == "count/resourcequotas" {
		return fmt.Errorf("%q cannot be bounded: ResourceQuotas are what an account quota is held by", name)
	}
	if resource, isCount := strings.CutPrefix(name, "count/"); isCount {
		if problems := validation.IsDNS1123Subdomain(resource); len(problems) > 0 {
			return fmt.Errorf("%q counts nothing; write count/RESOURCE.GROUP, such as count/deployments.apps", name)
		}
		return nil
	}
	if isExtended(name) {
		return nil
	}
	known := append(slices.Clone(counted), measured...)
	if near := arguments.Nearest(name, known); near != "" {
		return fmt.Errorf("there is no resource %q to bound; did you mean %q?", name, near)
	}
	return fmt.Errorf("there is no resource %q to bound; use one of %s, count/RESOURCE.GROUP, or requests. with an extended resource", name, strings.Join(known, ", "))
}

// isExtended tells whether it is one that a class or a device brings: huge pages, storage of a class, or the request of
// a resource with a domain.
func isExtended(name string) bool {
	for _, prefix := range []string{"hugepages-", "requests.hugepages-"} {
		if size, found := strings.CutPrefix(name, prefix); found {
			_, err := resource.ParseQuantity(size)
			return err == nil
		}
	}
	if class, of, found := strings.Cut(name, ".storageclass.storage.k8s.io/"); found {
		return class != "" && (of == "requests.storage" || of == "persistentvolumeclaims")
	}
	if class, of, found := strings.Cut(name, ".deviceclass.resource.k8s.io/"); found {
		return class != "" && of == "devices"
	}
	device, found := strings.CutPrefix(name, "requests.")
	return found && strings.Contains(device, "/") && len(validation.IsQualifiedName(device)) == 0
}
