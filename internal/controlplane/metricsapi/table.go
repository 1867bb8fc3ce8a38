package metricsapi

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/metrics/pkg/apis/metrics"
)

var columns = []metav1.TableColumnDefinition{
	{Name: "Name", Type: "string", Format: "name", Description: "Name of the object that is measured"},
	{Name: "CPU", Type: "string", Description: "Cores in use, on average over the window"},
	{Name: "Memory", Type: "string", Description: "Working set"},
	{Name: "Window", Type: "string", Description: "Time over which was measured"},
}

// ConvertToTable implements rest.TableConvertor.
func (*podStorage) ConvertToTable(_ context.Context, object, _ runtime.Object) (*metav1.Table, error) {
	table := &metav1.Table{ColumnDefinitions: columns}
	switch o := object.(type) {
	case *metrics.PodMetrics:
		table.Rows = []metav1.TableRow{podRow(o)}
	case *metrics.PodMetricsList:
		for i := range o.Items {
			table.Rows = append(table.Rows, podRow(&o.Items[i]))
		}
	}
	return table, nil
}

// ConvertToTable implements rest.TableConvertor.
func (*nodeStorage) ConvertToTable(_ context.Context, object, _ runtime.Object) (*metav1.Table, error) {
	table := &metav1.Table{ColumnDefinitions: columns}
	switch o := object.(type) {
	case *metrics.NodeMetrics:
		table.Rows = []metav1.TableRow{nodeRow(o)}
	case *metrics.NodeMetricsList:
		for i := range o.Items {
			table.Rows = append(table.Rows, nodeRow(&o.Items[i]))
		}
	}
	return table, nil
}

func podRow(pod *metrics.PodMetrics) metav1.TableRow {
	return row(pod, pod.Name, podUsage(pod), pod.Window)
}

func nodeRow(node *metrics.NodeMetrics) metav1.TableRow {
	return row(node, node.Name, node.Usage, node.Window)
}

func row(object runtime.Object, name string, used corev1.ResourceList, window metav1.Duration) metav1.TableRow {
	cores := resource.NewMilliQuantity(used.Cpu().MilliValue(), resource.DecimalSI)
	return metav1.TableRow{
		Cells:  []any{name, cores.String(), used.Memory().String(), window.Duration.String()},
		Object: runtime.RawExtension{Object: object},
	}
}
