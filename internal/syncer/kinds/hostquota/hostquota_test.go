package hostquota

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestGainsNothing(t *testing.T) {
	quota := func(hard, used string) *corev1.ResourceQuota {
		return &corev1.ResourceQuota{Status: corev1.ResourceQuotaStatus{
			Hard: corev1.ResourceList{"pods": resource.MustParse(hard)}, Used: corev1.ResourceList{"pods": resource.MustParse(used)},
		}}
	}
	for name, tc := range map[string]struct {
		old, new *corev1.ResourceQuota
		want     bool
	}{
		"Charged":     {quota("3", "1"), quota("3", "2"), true},
		"Freed":       {quota("3", "2"), quota("3", "1"), false},
		"Raised":      {quota("3", "3"), quota("4", "3"), false},
		"Lowered":     {quota("3", "1"), quota("1", "1"), true},
		"RaisedInUse": {quota("3", "3"), quota("4", "4"), true},
		"New":         {&corev1.ResourceQuota{}, quota("1", "0"), false},
		"Marked":      {quota("3", "1"), quota("3", "1"), true},
	} {
		if got := gainsNothing(tc.old, tc.new); got != tc.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
