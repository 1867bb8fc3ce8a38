package integration

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// TestAdoptedVirtualCluster: one that was there before its namespace became a space belongs to the account from then on, so that it
// is no way around rules and quotas; and one outside of spaces belongs to nobody.
func TestAdoptedVirtualCluster(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	h.StartAgent(t, tenancytest.Parts{More: lifecycle})
	h.Create(t, &tenancyv1alpha1.Account{ObjectMeta: metav1.ObjectMeta{Name: "team"}, Spec: tenancyv1alpha1.AccountSpec{
		VirtualClusters: tenancyv1alpha1.AccountVirtualClusters{Limit: new(int32(0))},
	}})
	h.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "old", Labels: map[string]string{mapping.LabelAdopt: "team"}}})
	h.Create(t, newVirtualCluster("old", func(*clusterv1alpha1.VirtualClusterSpec) {}))
	accountOf := func() (string, error) {
		var vc clusterv1alpha1.VirtualCluster
		if err := h.Admin.Get(t.Context(), client.ObjectKey{Namespace: "old", Name: "shop"}, &vc); err != nil {
			return "", err
		}
		if vc.Status.ID == "" {
			return "", fmt.Errorf("it has no ID yet")
		}
		var control corev1.Namespace
		if err := h.Admin.Get(t.Context(), client.ObjectKey{Name: mapping.ControlNamespace(vc.Status.ID)}, &control); err != nil {
			return "", err
		}
		held, ok, err := rules.Of(&control)
		if control.Labels[mapping.LabelAccount] != "" && !ok {
			return "", fmt.Errorf("it belongs to an account and has no rules: %w", err)
		}
		return held.Account, err
	}
	h.Eventually(t, "it is begun, outside of accounts", func() error {
		account, err := accountOf()
		if err == nil && account != "" {
			err = fmt.Errorf("it belongs to %q", account)
		}
		return err
	})
	h.Create(t, &tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: "old"}, Spec: tenancyv1alpha1.SpaceSpec{Account: "team", Adopt: true}})
	h.Eventually(t, "it belongs to the account, though there is no room in it", func() error {
		account, err := accountOf()
		if err == nil && account != "team" {
			err = fmt.Errorf("it belongs to %q", account)
		}
		return err
	})
}
