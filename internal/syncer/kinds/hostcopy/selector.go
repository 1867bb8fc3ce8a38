package hostcopy

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// StrangeLabels are the keys in a selector of pods that host pods do not carry, since they stay in the tenant. A selector with
// one of them would select other pods on the host than in the tenant.
func StrangeLabels(selector *metav1.LabelSelector) []string {
	if selector == nil {
		return nil
	}
	var strange []string
	for key := range selector.MatchLabels {
		if !mapping.IsCopiedLabel(key) {
			strange = append(strange, key)
		}
	}
	for _, expression := range selector.MatchExpressions {
		if !mapping.IsCopiedLabel(expression.Key) && !slices.Contains(strange, expression.Key) {
			strange = append(strange, expression.Key)
		}
	}
	slices.Sort(strange)
	return strange
}
