package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const quotaManifest = `
apiVersion: tenancy.matryoshka.dev/v1alpha1
kind: Account
metadata: {name: e2e-quota}
---
apiVersion: tenancy.matryoshka.dev/v1alpha1
kind: AccountQuota
metadata: {name: e2e-quota}
spec:
  account: e2e-quota
  quota:
    hard: {requests.cpu: 100m}
---
apiVersion: tenancy.matryoshka.dev/v1alpha1
kind: Space
metadata: {name: e2e-quota-a}
spec: {account: e2e-quota}
---
apiVersion: tenancy.matryoshka.dev/v1alpha1
kind: Space
metadata: {name: e2e-quota-b}
spec: {account: e2e-quota}
`

// The whole quota of an account can be asked for at once, in whichever space: the host's API server asks the agent, and that moves the
// room there before the request is decided. What goes beyond is refused.
func TestQuotaIsWhereItIsNeeded(t *testing.T) {
	t.Parallel()
	shared.mustApply(t, quotaManifest)
	t.Cleanup(func() {
		shared.matry(context.Background(), "kubectl", "delete", "--wait=false", "space/e2e-quota-a", "space/e2e-quota-b", "accountquota/e2e-quota", "account/e2e-quota")
	})
	client := shared.client(t)
	eventually(t, startTimeout, func(ctx context.Context) error {
		for _, namespace := range []string{"e2e-quota-a", "e2e-quota-b"} {
			part, err := client.CoreV1().ResourceQuotas(namespace).Get(ctx, "matryoshka-e2e-quota", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if room := part.Status.Hard["requests.cpu"]; room.IsZero() {
				return errors.New(namespace + " has no room yet")
			}
			if _, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{}); err != nil {
				return err // without it a pod is refused for another reason
			}
		}
		configuration, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, "matryoshka-quota", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(configuration.Webhooks) != 1 || len(configuration.Webhooks[0].Rules) == 0 || len(configuration.Webhooks[0].ClientConfig.CABundle) == 0 {
			return errors.New("the webhook is not complete")
		}
		return nil
	})
	create := func(namespace, name, cpu string) error {
		_, err := client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.PodSpec{
				TerminationGracePeriodSeconds: new(int64(0)),
				Containers: []corev1.Container{{
					Name: "main", Image: withImages("IMAGE(busybox)"), Command: []string{"sleep", "600"},
					Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse(cpu)}},
				}},
			},
		}, metav1.CreateOptions{})
		return err
	}
	// The webhook begins to be asked some moments after its rules were written.
	eventually(t, startTimeout, func(context.Context) error { return create("e2e-quota-a", "large", "95m") })
	if err := create("e2e-quota-b", "more", "10m"); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota: matryoshka-e2e-quota") {
		t.Errorf("a pod beyond the quota: %v", err)
	}
	if err := client.CoreV1().Pods("e2e-quota-a").Delete(t.Context(), "large", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, startTimeout, func(context.Context) error { return create("e2e-quota-b", "large", "95m") })
}
