package virtualcluster

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

// table makes the columns of `matry get virtualclusters`. Their names are stable: scripts read them.
func table(items []clusterv1alpha1.VirtualCluster, withNamespace bool) *metav1.Table {
	columns := []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string", Format: "name"},
		{Name: "Ready", Type: "string"},
		{Name: "Reason", Type: "string"},
		{Name: "Version", Type: "string"},
		{Name: "Age", Type: "string"},
		{Name: "ID", Type: "string", Priority: 1},
		{Name: "Store", Type: "string", Priority: 1},
		{Name: "Endpoint", Type: "string", Priority: 1},
	}
	if withNamespace {
		columns = append([]metav1.TableColumnDefinition{{Name: "Namespace", Type: "string"}}, columns...)
	}
	result := &metav1.Table{ColumnDefinitions: columns}
	for i := range items {
		result.Rows = append(result.Rows, row(&items[i], withNamespace))
	}
	return result
}

func row(vc *clusterv1alpha1.VirtualCluster, withNamespace bool) metav1.TableRow {
	now := stateOf(vc)
	cells := []any{
		vc.Name, now.status, now.reason, orNone(vc.Status.KubernetesVersion), age(vc.CreationTimestamp),
		orNone(vc.Status.ID), orNone(string(vc.Spec.Store.Type)), orNone(vc.Status.Endpoint),
	}
	if withNamespace {
		cells = append([]any{vc.Namespace}, cells...)
	}
	return metav1.TableRow{Cells: cells}
}

func orNone(text string) string {
	if text == "" {
		return "<none>"
	}
	return text
}

func age(since metav1.Time) string {
	if since.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(time.Since(since.Time))
}
