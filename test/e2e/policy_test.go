package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An isolated pod connects to the host's API server, which every other pod reaches, as the first thing that it does. The
// answer of the API server must not come once, however early.
func TestNetworkPolicyHoldsFromAPodsFirstInstant(t *testing.T) {
	t.Parallel()
	const namespace = "e2e-first-instant"
	ensureHostNamespace(t, shared, namespace)
	client := shared.client(t)
	shared.mustApply(t, withImages(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: isolated, namespace: `+namespace+`}
spec: {podSelector: {matchLabels: {isolated: "yes"}}, policyTypes: [Egress]}
`))
	for name, want := range map[string]string{"isolated": "closed", "free": "open"} {
		isolated := map[string]string{"isolated": "yes", "free": "no"}[name]
		// A connection that is open needs patience on a busy machine only, and costs none where it is not.
		patience := map[string]string{"isolated": "1", "free": "20"}[name]
		shared.mustApply(t, withImages(`
apiVersion: v1
kind: Pod
metadata: {name: `+name+`, namespace: `+namespace+`, labels: {isolated: "`+isolated+`"}}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: IMAGE(busybox)
    command: [sh, -c, 'for i in $(seq 20); do nc -w `+patience+` 10.96.0.1 443 </dev/null && echo open || echo closed; done']
`))
		eventually(t, startTimeout, func(ctx context.Context) error {
			pod, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
			if err == nil && pod.Status.Phase != corev1.PodSucceeded {
				err = fmt.Errorf("pod %q has not ended: %s", name, describe(pod))
			}
			return err
		})
		log := shared.mustMatry(t, "kubectl", "logs", "-n", namespace, name)
		// Messages of nc itself are among the lines.
		if seen := strings.Count(log, want+"\n"); seen != 20 {
			t.Errorf("pod %s: %d of 20 connections were %s:\n%s", name, seen, want, log)
		}
	}
	if err := client.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}
