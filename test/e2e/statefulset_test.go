package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A StatefulSet's pods have names that DNS answers, and volumes that stay with the name when the pod is replaced.
func TestStatefulSetKeepsNamesAndVolumes(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "stateful")
	v.apply(t, namespace, testdata(t, "statefulset.yaml"))
	for _, name := range []string{"db-0", "db-1"} {
		v.podReady(t, namespace, name)
	}

	for _, name := range []string{
		"db-0.db", "db-0.db.stateful", "db-0.db.stateful.svc", "db-0.db.stateful.svc.cluster.local",
	} {
		answered(t, v, namespace, "db-1", name, "db-0")
	}
	if got := strings.TrimSpace(v.mustRead(t, "-n", namespace, "db-0", "--", "hostname")); got != "db-0" {
		t.Errorf("hostname prints %q, want db-0", got)
	}
	// The kubelet writes the names of a pod into /etc/hosts; the host's namespace must not show there.
	if got := v.mustRead(t, "-n", namespace, "db-0", "--", "cat", "/etc/hosts", "/etc/resolv.conf"); strings.Contains(got, v.id) {
		t.Errorf("a pod sees the name of its host namespace:\n%s", got)
	}

	v.mustKubectl(t, "exec", "-n", namespace, "db-0", "--", "sh", "-c", "echo kept > /data/kept; sync")
	before := v.podReady(t, namespace, "db-0")
	if err := v.client.CoreV1().Pods(namespace).Delete(t.Context(), "db-0", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, startTimeout, func(ctx context.Context) error {
		pod, err := v.client.CoreV1().Pods(namespace).Get(ctx, "db-0", metav1.GetOptions{})
		if apierrors.IsNotFound(err) || (err == nil && pod.UID == before.UID) {
			return errors.New("db-0 is not replaced yet")
		}
		return err
	})
	after := v.podReady(t, namespace, "db-0")
	if after.UID == before.UID {
		t.Fatal("db-0 was not replaced")
	}
	if got := v.mustRead(t, "-n", namespace, "db-0", "--", "cat", "/data/kept", "/data/owner"); got != "kept\ndb-0\n" {
		t.Errorf("the volume of the new db-0 has %q, want what the old one wrote", got)
	}
	answered(t, v, namespace, "db-1", "db-0.db", "db-0")
}

// answered asks, from a pod, the web server behind a DNS name until it answers with the wanted text. With nc, since the wget
// of a static BusyBox crashes without the libraries of a whole system.
func answered(t *testing.T, v *tenant, namespace, from, name, want string) {
	t.Helper()
	const ask = `printf 'GET /index.html HTTP/1.0\r\n\r\n' | nc -w 5 "$0" 8080 | tail -n 1`
	eventually(t, startTimeout, func(ctx context.Context) error {
		seen := v.kubectl(ctx, "exec", "-n", namespace, from, "--", "sh", "-c", ask, name)
		if seen.err != nil {
			return seen.err
		}
		if got := strings.TrimSpace(seen.stdout); got != want {
			return fmt.Errorf("%s answers %q, want %q: %s", name, got, want, seen.stderr)
		}
		return nil
	})
}

// A claim of a StatefulSet outlives it and its volume has data of the tenant: its PersistentVolume is bound in both directions.
func TestClaimsAreBoundOnTheTenantSide(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "claims")
	v.apply(t, namespace, testdata(t, "statefulset.yaml"))
	v.podReady(t, namespace, "db-0")

	claim := v.claimBound(t, namespace, "data-db-0")
	volume, err := v.client.CoreV1().PersistentVolumes().Get(t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if volume.Spec.ClaimRef == nil || volume.Spec.ClaimRef.Namespace != namespace || volume.Spec.ClaimRef.UID != claim.UID {
		t.Errorf("the volume's claim is %+v, want %s/%s with UID %s", volume.Spec.ClaimRef, namespace, claim.Name, claim.UID)
	}
}

// claimBound waits until a claim is Bound: a pod may be told Ready before its claim.
func (v *tenant) claimBound(t *testing.T, namespace, name string) (claim *corev1.PersistentVolumeClaim) {
	t.Helper()
	eventually(t, startTimeout, func(ctx context.Context) (err error) {
		claim, err = v.client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil && (claim.Status.Phase != corev1.ClaimBound || claim.Spec.VolumeName == "") {
			err = fmt.Errorf("claim %q is %s with volume %q, want Bound", name, claim.Status.Phase, claim.Spec.VolumeName)
		}
		return err
	})
	return claim
}
