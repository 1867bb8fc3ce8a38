package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/await"
)

// fieldOwner owns what this package applies itself.
const fieldOwner = client.FieldOwner("matry-install")

var crdKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// applyCRDs brings the custom resource definitions of the chart up to date and waits until they are served. Helm only
// ever creates them.
func applyCRDs(ctx context.Context, hostClient client.WithWatch, chart *chart.Chart) error {
	return eachCRD(chart, func(crd *unstructured.Unstructured) error { return applyCRD(ctx, hostClient, crd) })
}

// eachCRD calls a function with each custom resource definition of the chart, until one fails.
func eachCRD(chart *chart.Chart, use func(crd *unstructured.Unstructured) error) error {
	for _, file := range chart.CRDObjects() {
		decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(file.File.Data), 4096)
		for {
			crd := &unstructured.Unstructured{}
			err := decoder.Decode(crd)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("read %q of the chart: %w", file.Name, err)
			}
			if len(crd.Object) == 0 {
				continue
			}
			if err := use(crd); err != nil {
				return err
			}
		}
	}
	return nil
}

func applyCRD(ctx context.Context, hostClient client.WithWatch, crd *unstructured.Unstructured) error {
	name := crd.GetName()
	if crd.GroupVersionKind() != crdKind {
		return fmt.Errorf("%s %q is among the custom resource definitions of the chart", crd.GroupVersionKind(), name)
	}
	// An operator must not be able to keep an old schema by having edited it: the agent is built for this one.
	err := hostClient.Apply(ctx, client.ApplyConfigurationFromUnstructured(crd), fieldOwner, client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply custom resource definition %q: %w", name, err)
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(crdKind.GroupVersion().WithKind(crdKind.Kind + "List"))
	err = await.Until(ctx, hostClient, client.ObjectKey{Name: name}, list, func(crd *unstructured.Unstructured, exists bool) (bool, error) {
		return exists && isEstablished(crd), nil
	})
	if err != nil {
		return fmt.Errorf("wait until custom resource definition %q is served: %w", name, err)
	}
	return nil
}

func isEstablished(crd *unstructured.Unstructured) bool {
	conditions, _, err := unstructured.NestedSlice(crd.Object, "status", "conditions")
	if err != nil {
		return false
	}
	for _, condition := range conditions {
		fields, isMap := condition.(map[string]any)
		if isMap && fields["type"] == "Established" && fields["status"] == "True" {
			return true
		}
	}
	return false
}
