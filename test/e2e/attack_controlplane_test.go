package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// tryAddresses tries a TCP connection to each of its arguments. What stands before "closed" is expected to answer, and is waited for
// as long as it takes on a busy machine.
const tryAddresses = `patience=30; for address; do
  if [ "$address" = closed ]; then patience=3; continue; fi
  if nc -w $patience "${address%:*}" "${address##*:}" </dev/null >/dev/null 2>&1; then echo "open $address"; else echo "closed $address"; fi
done`

// attackFromControlPlane looks from inside a control plane's pod, as somebody who has taken the process over: it holds no
// credentials of the host and reaches the two doors, DNS and pods of its own virtual cluster, and nothing else.
func attackFromControlPlane(t *testing.T, a, b *tenant, own, other *corev1.Pod) {
	host := a.host.client(t)
	pods := host.CoreV1().Pods(mapping.ControlNamespace(a.id))
	pod, err := pods.Get(t.Context(), "controlplane-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken {
		t.Error("the control plane's pod may mount a token of the host")
	}
	for _, volume := range pod.Spec.Volumes {
		for _, source := range projections(volume) {
			if source.ServiceAccountToken != nil {
				t.Errorf("volume %q holds a token of the host", volume.Name)
			}
		}
	}

	services := map[string]string{}
	for _, name := range []string{"matryoshka-agent", "matryoshka-dns"} {
		service, err := host.CoreV1().Services("matryoshka-system").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		services[name] = service.Spec.ClusterIP
	}
	otherAPI, err := b.client.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	open := []string{services["matryoshka-agent"] + ":8444", services["matryoshka-agent"] + ":8445", services["matryoshka-dns"] + ":53", own.Status.PodIP + ":8080"}
	closed := []string{other.Status.PodIP + ":8080", otherAPI.Spec.ClusterIP + ":443", services["matryoshka-agent"] + ":8443", "169.254.169.254:80"}
	for _, address := range hostAddresses(t, a.host) {
		if !slices.Contains(open, address) {
			closed = append(closed, address)
		}
	}

	intruder := corev1.EphemeralContainer{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "intruder", Image: withImages("IMAGE(busybox)"),
			Command: slices.Concat([]string{"sh", "-c", tryAddresses, "sh"}, open, []string{"closed"}, closed),
			SecurityContext: &corev1.SecurityContext{
				RunAsUser: new(int64(65532)), RunAsNonRoot: new(true), AllowPrivilegeEscalation: new(false),
				Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
		},
	}
	// The kubelet writes the status of the pod meanwhile.
	if err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		fresh, err := pods.Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		fresh.Spec.EphemeralContainers = append(fresh.Spec.EphemeralContainers, intruder)
		_, err = pods.UpdateEphemeralContainers(t.Context(), fresh.Name, fresh, metav1.UpdateOptions{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var seen string
	eventually(t, startTimeout, func(ctx context.Context) error {
		raw, err := pods.GetLogs(pod.Name, &corev1.PodLogOptions{Container: "intruder"}).DoRaw(ctx)
		if err != nil {
			return err
		}
		seen = string(raw)
		if tried := strings.Count(seen, "\n"); tried < len(open)+len(closed) {
			return fmt.Errorf("%d of %d addresses are tried", tried, len(open)+len(closed))
		}
		return nil
	})
	for _, address := range open {
		if !strings.Contains(seen, "open "+address+"\n") {
			t.Errorf("the control plane does not reach %s, which it needs", address)
		}
	}
	for _, address := range closed {
		if !strings.Contains(seen, "closed "+address+"\n") {
			t.Errorf("the control plane reaches %s", address)
		}
	}
}

func projections(volume corev1.Volume) []corev1.VolumeProjection {
	if volume.Projected == nil {
		return nil
	}
	return volume.Projected.Sources
}
