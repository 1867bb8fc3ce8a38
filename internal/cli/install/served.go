package install

import (
	"context"
	"fmt"
	"time"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// awaitDiscovered waits until the host's discovery has all kinds of the chart. It comes a moment after a definition is established, kind by
// kind, and Helm takes what is missing there for a mistake in the chart. Discovery cannot be watched.
func awaitDiscovered(ctx context.Context, config *rest.Config, chart *chart.Chart) error {
	wanted, err := kindsOf(chart)
	if err != nil {
		return err
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("prepare discovery: %w", err)
	}
	missing := ""
	err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(context.Context) (bool, error) {
		_, lists, err := client.ServerGroupsAndResources()
		// Groups that others serve, and do not serve now, are no concern of the chart's.
		if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
			return false, err
		}
		known := map[string]bool{}
		for _, list := range lists {
			for index := range list.APIResources {
				known[list.GroupVersion+"/"+list.APIResources[index].Kind] = true
			}
		}
		for _, kind := range wanted {
			if !known[kind] {
				missing = kind
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("wait until the host's discovery knows the kinds of the chart (%s is missing): %w", missing, err)
	}
	return nil
}

// kindsOf are the kinds that the chart's custom resource definitions serve, as group/version/kind.
func kindsOf(chart *chart.Chart) ([]string, error) {
	var kinds []string
	err := eachCRD(chart, func(crd *unstructured.Unstructured) error {
		group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
		if err != nil {
			return fmt.Errorf("read the versions of custom resource definition %q: %w", crd.GetName(), err)
		}
		for _, version := range versions {
			if fields, isMap := version.(map[string]any); isMap && fields["served"] == true {
				kinds = append(kinds, fmt.Sprintf("%s/%v/%s", group, fields["name"], kind))
			}
		}
		return nil
	})
	return kinds, err
}
