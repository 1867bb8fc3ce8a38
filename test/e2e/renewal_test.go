package e2e

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Somebody has kept a kubeconfig and a token. After a renewal neither counts, and what runs goes on.
func TestRenewedCredentials(t *testing.T) {
	t.Parallel()
	const namespace, name = "e2e-renewal", "renewal"
	before := newTenant(t, shared, namespace, name)
	kept := before.works(t, "", "before")
	shared.mustMatry(t, "renew", "vc", name, "-n", namespace, "--wait", "--timeout", waitTimeout.String())

	if _, err := before.client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("the old kubeconfig is not refused: %v", err)
	}
	if err := before.accepts(t.Context(), kept.token); !apierrors.IsUnauthorized(err) {
		t.Errorf("the old token is not refused: %v", err)
	}
	after := openTenant(t, shared, namespace, name, func() error { return nil })
	after.hasNewToken(t, kept)
	after.works(t, "", "after")
	if pod := after.podReady(t, metav1.NamespaceDefault, "before"); pod.UID != kept.pod.UID || pod.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the pod was restarted or replaced: %s", describe(pod))
	}
}
