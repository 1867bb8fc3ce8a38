package engine

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestInSmallPages: only an informer that goes on with the next page gets a page.
func TestInSmallPages(t *testing.T) {
	for name, tc := range map[string]struct{ asked, want metav1.ListOptions }{
		"First":      {metav1.ListOptions{Limit: 500, ResourceVersion: "0"}, metav1.ListOptions{Limit: listPage}},
		"Next":       {metav1.ListOptions{Limit: 500, Continue: "more"}, metav1.ListOptions{Limit: listPage, Continue: "more"}},
		"Everything": {metav1.ListOptions{ResourceVersion: "0"}, metav1.ListOptions{ResourceVersion: "0"}},
		"NotOlder":   {metav1.ListOptions{ResourceVersion: "7"}, metav1.ListOptions{ResourceVersion: "7"}},
	} {
		if got := inSmallPages(tc.asked); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}
