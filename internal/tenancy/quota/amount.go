package quota

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Amounts are counted in whole units: thousandths of a CPU, bytes, objects. What lies between is rounded up.
const (
	// most is the largest amount that is told from larger ones. A sum of such amounts stays at most.
	most int64 = 1 << 60
	// mostBound is the largest bound of an account: below most, so that no sum that ran over is within it.
	mostBound int64 = 1 << 59
)

// amounts are quantities by resource.
type amounts map[corev1.ResourceName]int64

// isCPU tells whether a resource is counted in thousandths.
func isCPU(name corev1.ResourceName) bool {
	return name == corev1.ResourceCPU || name == corev1.ResourceRequestsCPU || name == corev1.ResourceLimitsCPU
}

// isBytes tells whether a resource is counted in bytes. It decides only how amounts are rounded and written.
func isBytes(name corev1.ResourceName) bool {
	return strings.HasSuffix(string(name), "memory") || strings.HasSuffix(string(name), "storage") || strings.Contains(string(name), "hugepages-")
}

// amountOf is a quantity in units, rounded up. A negative one is nothing.
func amountOf(name corev1.ResourceName, quantity resource.Quantity) int64 {
	limit := resource.NewQuantity(most, resource.DecimalSI)
	if isCPU(name) {
		limit = resource.NewMilliQuantity(most, resource.DecimalSI)
	}
	switch {
	case quantity.Sign() <= 0:
		return 0
	case quantity.Cmp(*limit) >= 0:
		return most
	case isCPU(name):
		return quantity.MilliValue()
	default:
		return quantity.Value()
	}
}

func amountsOf(list corev1.ResourceList) amounts {
	found := make(amounts, len(list))
	for name, quantity := range list {
		found[name] = amountOf(name, quantity)
	}
	return found
}

func quantityOf(name corev1.ResourceName, amount int64) resource.Quantity {
	switch {
	case isCPU(name):
		return *resource.NewMilliQuantity(amount, resource.DecimalSI)
	case isBytes(name):
		return *resource.NewQuantity(amount, resource.BinarySI)
	default:
		return *resource.NewQuantity(amount, resource.DecimalSI)
	}
}

func (a amounts) list() corev1.ResourceList {
	list := make(corev1.ResourceList, len(a))
	for name, amount := range a {
		list[name] = quantityOf(name, amount)
	}
	return list
}

// plus adds two amounts that are at most most.
func plus(a, b int64) int64 { return min(a+b, most) }
