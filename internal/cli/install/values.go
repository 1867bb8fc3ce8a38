package install

import (
	"fmt"
	"io"
	"os"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// values merges the files and then --set.
func (o *commandOptions) values() (map[string]any, error) {
	merged := map[string]any{}
	for _, file := range o.files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, exit.Usagef("--values: %w", err)
		}
		values := map[string]any{}
		if err := yaml.Unmarshal(content, &values); err != nil {
			return nil, exit.Usagef("--values: %q is not YAML: %w", file, err)
		}
		merge(merged, values)
	}
	for _, assignment := range o.set {
		if err := strvals.ParseInto(assignment, merged); err != nil {
			return nil, exit.Usagef("--set: %q is not key=value: %w", assignment, err)
		}
	}
	return merged, nil
}

// printValues prints the chart's own file, with its comments.
func printValues(w io.Writer, chart *chart.Chart) error {
	for _, file := range chart.Raw {
		if file.Name == chartutil.ValuesfileName {
			_, err := w.Write(file.Data)
			return err
		}
	}
	return fmt.Errorf("chart %q has no %s", chart.Name(), chartutil.ValuesfileName)
}

// merge writes from into into, folder by folder.
func merge(into, from map[string]any) {
	for key, value := range from {
		inner, isMap := value.(map[string]any)
		existing, hasMap := into[key].(map[string]any)
		if isMap && hasMap {
			merge(existing, inner)
			continue
		}
		into[key] = value
	}
}

// checkValues holds the values against the chart's schema, before any cluster is asked. An upgrade adds those of the
// installation before, which Helm checks again.
func checkValues(chart *chart.Chart, values map[string]any) error {
	complete, err := util.CoalesceValues(chart, values)
	if err != nil {
		return exit.Usagef("the values do not fit the chart: %w", err)
	}
	if err := util.ValidateAgainstSchema(chart, complete); err != nil {
		return exit.WithNext(exit.Usagef("the values do not fit the chart %s", strings.TrimSpace(err.Error())),
			"`matry install --print-values` shows all of them")
	}
	return nil
}
