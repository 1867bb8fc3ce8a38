package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// Each power over a node that a pod can ask for is refused on the host, although the tenant's own API server has let the
// pod in: the tenant is administrator there and can switch pod security off.
func TestAttackPodsWithPowerOverTheNode(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "attack-power")
	attacks := []struct{ name, spec, container, word string }{
		{"host-path", `volumes: [{name: root, hostPath: {path: /}}]`, ``, "hostPath"},
		{"host-network", `hostNetwork: true`, ``, "host namespaces"},
		{"host-pid", `hostPID: true`, ``, "host namespaces"},
		{"host-ipc", `hostIPC: true`, ``, "host namespaces"},
		{"host-port", ``, `ports: [{containerPort: 80, hostPort: 80}]`, "hostPort"},
		{"privileged", ``, `securityContext: {privileged: true}`, "privileged"},
		{"capability", ``, `securityContext: {capabilities: {add: [SYS_ADMIN]}}`, "capabilities"},
		{"apparmor", ``, `securityContext: {appArmorProfile: {type: Unconfined}}`, "ppArmor"},
		{"unconfined", ``, `securityContext: {seccompProfile: {type: Unconfined}}`, "seccompProfile"},
		{"sysctl", `securityContext: {sysctls: [{name: kernel.msgmax, value: "65536"}]}`, ``, "sysctl"},
	}
	for _, attack := range attacks {
		v.apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  %s
  containers:
  - name: main
    image: IMAGE(busybox)
    command: [sleep, "600"]
    %s
`, attack.name, attack.spec, attack.container))
	}
	host := v.host.client(t)
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			v.hasEvent(t, namespace, attack.name, attack.word)
			_, err := host.CoreV1().Pods(mapping.HostNamespace(v.id, namespace)).Get(t.Context(), attack.name, metav1.GetOptions{})
			if !apierrors.IsNotFound(err) {
				t.Errorf("the host has the pod (%v)", err)
			}
		})
	}
}

// A Secret that the host's people, or the agent, keep in a mapped namespace is not the tenant's: no way of naming it in a pod
// mounts it.
func TestAttackSecretsOfTheMappedNamespace(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "attack-secrets")
	v.apply(t, namespace, testdata(t, "shell.yaml"))
	shell := v.podReady(t, namespace, "shell")

	host, hostNamespace := v.host.client(t), mapping.HostNamespace(v.id, namespace)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "operators"}, StringData: map[string]string{"WORD": "only-for-the-operator"}}
	if _, err := host.CoreV1().Secrets(hostNamespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bundle := "matryoshka-pod-" + string(shell.UID)
	if _, err := host.CoreV1().Secrets(hostNamespace).Get(t.Context(), bundle, metav1.GetOptions{}); err != nil {
		t.Fatalf("the Secret of the agent that is to be stolen: %v", err)
	}

	// Every form of naming it, all of them optional, so that no Secret of the tenant is needed.
	forms := map[string]string{
		"pull":      `imagePullSecrets: [{name: %s}]`,
		"volume":    `volumes: [{name: stolen, secret: {secretName: %s, optional: true}}]`,
		"projected": `volumes: [{name: stolen, projected: {sources: [{secret: {name: %s, optional: true}}]}}]`,
		"env":       `initContainers: [{name: init, image: IMAGE(busybox), env: [{name: STOLEN, valueFrom: {secretKeyRef: {name: %s, key: WORD, optional: true}}}]}]`,
		"env-from":  `initContainers: [{name: init, image: IMAGE(busybox), envFrom: [{secretRef: {name: %s, optional: true}}]}]`,
		"required":  `volumes: [{name: stolen, secret: {secretName: %s}}]`,
	}
	for form, spec := range forms {
		for owner, stolen := range map[string]string{"operator": "operators", "agent": bundle} {
			name := form + "-of-" + owner
			v.apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  %s
  containers: [{name: main, image: IMAGE(busybox), command: [sleep, "600"]}]
`, name, fmt.Sprintf(spec, stolen)))
			v.isKeptFrom(t, namespace, name, stolen)
		}
	}
}

// isKeptFrom waits until the agent has dealt with a pod that names a host object which is not the tenant's: it either warns
// and makes no host pod, or makes one that does not name it.
func (v *tenant) isKeptFrom(t *testing.T, namespace, name, stolen string) {
	t.Helper()
	hostPods := v.host.client(t).CoreV1().Pods(mapping.HostNamespace(v.id, namespace))
	eventually(t, startTimeout, func(ctx context.Context) error {
		hostPod, err := hostPods.Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			if strings.Contains(hostPod.Spec.String(), stolen) {
				t.Errorf("the host pod %q names %q", name, stolen)
			}
			return nil
		}
		if !apierrors.IsNotFound(err) {
			return err
		}
		events, err := v.client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
		if err != nil {
			return err
		}
		for _, event := range events.Items {
			if event.Type == corev1.EventTypeWarning && strings.Contains(event.Message, stolen) {
				return nil
			}
		}
		return fmt.Errorf("pod %q has neither a host pod nor a warning about %q", name, stolen)
	})
}

// Labels, annotations, finalizers and owners that would steer the agent or the host do not reach the host.
func TestAttackForgedMetadata(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	const namespace = "attack-metadata"
	v.apply(t, "default", `
apiVersion: v1
kind: Namespace
metadata:
  name: attack-metadata
  labels:
    pod-security.kubernetes.io/enforce: privileged
    kubernetes.io/metadata.name: attack-metadata
    matryoshka.dev/kind: space
    matryoshka.dev/virtual-cluster-uid: forged
    matryoshka.dev/virtual-cluster-id: zzzzzzzz
`)
	t.Cleanup(func() {
		if err := v.client.CoreV1().Namespaces().Delete(context.Background(), namespace, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	eventually(t, startTimeout, func(ctx context.Context) error {
		_, err := v.client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	node, err := v.client.CoreV1().Nodes().Get(t.Context(), v.onlyNode(t), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v.apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: forged
  labels:
    matryoshka.dev/kind: control
    matryoshka.dev/virtual-cluster-uid: forged
    matryoshka.dev/virtual-cluster-id: zzzzzzzz
    io.cilium.k8s.policy.serviceaccount: forged
    harmless: stays
  annotations:
    matryoshka.dev/tenant-uid: forged
    k8s.v1.cni.cncf.io/networks: forged
    unknown.example.com/steers: forged
  ownerReferences:
  - {apiVersion: v1, kind: Node, name: %s, uid: %s}
  finalizers: [attack.example/never]
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: IMAGE(busybox), command: [sleep, "600"]}]
`, node.Name, node.UID))
	t.Cleanup(func() {
		v.kubectl(context.Background(), "patch", "pod", "forged", "-n", namespace, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	})

	host := v.host.client(t)
	var hostNamespace *corev1.Namespace
	eventually(t, startTimeout, func(ctx context.Context) (err error) {
		hostNamespace, err = host.CoreV1().Namespaces().Get(ctx, mapping.HostNamespace(v.id, namespace), metav1.GetOptions{})
		return err
	})
	if got := hostNamespace.Labels["pod-security.kubernetes.io/enforce"]; got != "baseline" {
		t.Errorf("the mapped namespace enforces %q, want baseline", got)
	}
	if got := hostNamespace.Labels[mapping.LabelKind]; got != mapping.KindMapped {
		t.Errorf("the mapped namespace is of kind %q", got)
	}
	if got := hostNamespace.Labels[mapping.LabelID]; got != v.id {
		t.Errorf("the mapped namespace belongs to %q, want %q", got, v.id)
	}
	var hostPod *corev1.Pod
	eventually(t, startTimeout, func(ctx context.Context) (err error) {
		hostPod, err = host.CoreV1().Pods(hostNamespace.Name).Get(ctx, "forged", metav1.GetOptions{})
		return err
	})
	if hostPod.Labels[mapping.LabelID] != v.id || hostPod.Labels[mapping.LabelKind] == mapping.KindControl || hostPod.Labels["harmless"] != "stays" {
		t.Errorf("the labels of the host pod are %v", hostPod.Labels)
	}
	for kind, metadata := range map[string]map[string]string{"label": hostPod.Labels, "annotation": hostPod.Annotations} {
		for key, value := range metadata {
			if value == "forged" {
				t.Errorf("the host pod has the %s %s=%s", kind, key, value)
			}
		}
	}
	if len(hostPod.OwnerReferences) > 0 || strings.Contains(fmt.Sprint(hostPod.Finalizers), "attack") {
		t.Errorf("the host pod has the owners %v and the finalizers %v", hostPod.OwnerReferences, hostPod.Finalizers)
	}
}

// Namespaces whose names are made to collide with the agent's own, with other virtual clusters' or with each other are all
// mapped to namespaces of their own.
func TestAttackNamespaceNames(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	host := v.host.client(t)
	long := strings.Repeat("a", 63)
	names := []string{
		"control", "controlplane", "matryoshka-system", "vcp-" + v.id, "vc-" + v.id + "-default", long,
		strings.TrimPrefix(mapping.HostNamespace(v.id, long), "vc-"+v.id+"-"),
	}
	seen := map[string]string{}
	for _, name := range names {
		v.newNamespace(t, name)
		hostName := mapping.HostNamespace(v.id, name)
		if other, taken := seen[hostName]; taken {
			t.Fatalf("%q and %q are both %q on the host", name, other, hostName)
		}
		seen[hostName] = name
		eventually(t, startTimeout, func(ctx context.Context) error {
			got, err := host.CoreV1().Namespaces().Get(ctx, hostName, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if got.Labels[mapping.LabelKind] != mapping.KindMapped || got.Labels[mapping.LabelID] != v.id {
				return fmt.Errorf("the host namespace of %q is %v", name, got.Labels)
			}
			return nil
		})
	}
}

// Volumes of the host: neither a PersistentVolume that points at a node's files, nor a claim that names a volume of the host
// by its name, gives the tenant anything.
func TestAttackPersistentVolumes(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "attack-volumes")
	host, hostNamespace := v.host.client(t), mapping.HostNamespace(v.id, namespace)
	v.host.mustApply(t, `
apiVersion: v1
kind: PersistentVolume
metadata: {name: attack-operators-volume}
spec:
  capacity: {storage: 1Mi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  hostPath: {path: /var/lib/attack-operators-volume}
`)
	t.Cleanup(func() {
		err := host.CoreV1().PersistentVolumes().Delete(context.Background(), "attack-operators-volume", metav1.DeleteOptions{})
		if err != nil {
			t.Error(err)
		}
	})
	v.apply(t, namespace, `
apiVersion: v1
kind: PersistentVolume
metadata: {name: attack-node-files}
spec:
  capacity: {storage: 1Mi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  hostPath: {path: /etc}
`)
	t.Cleanup(func() {
		v.kubectl(context.Background(), "delete", "pv", "attack-node-files", "--wait=false")
	})
	for claim, volume := range map[string]string{"own": "attack-node-files", "foreign": "attack-operators-volume"} {
		v.apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %[1]s}
spec: {storageClassName: "", volumeName: %[2]s, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s}
spec:
  volumes: [{name: stolen, persistentVolumeClaim: {claimName: %[1]s}}]
  containers: [{name: main, image: IMAGE(busybox), command: [sleep, "600"], volumeMounts: [{name: stolen, mountPath: /stolen}]}]
`, claim, volume))
	}
	for _, claim := range []string{"own", "foreign"} {
		t.Run(claim, func(t *testing.T) {
			// The tenant is told, on the claim or on the pod, so that the agent has certainly looked at both.
			eventually(t, startTimeout, func(ctx context.Context) error {
				events, err := v.client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + claim})
				if err != nil {
					return err
				}
				for _, event := range events.Items {
					if event.Type == corev1.EventTypeWarning {
						return nil
					}
				}
				return fmt.Errorf("none of %d events about %q is a warning", len(events.Items), claim)
			})
			if pod, err := v.client.CoreV1().Pods(namespace).Get(t.Context(), claim, metav1.GetOptions{}); err != nil || pod.Status.Phase != corev1.PodPending {
				t.Errorf("the pod is %v (%v), want Pending", pod.Status.Phase, err)
			}
			hostClaim, err := host.CoreV1().PersistentVolumeClaims(hostNamespace).Get(t.Context(), claim, metav1.GetOptions{})
			if err == nil && (hostClaim.Spec.VolumeName != "" || hostClaim.Status.Phase == corev1.ClaimBound) {
				t.Errorf("the host's claim is %s to volume %q", hostClaim.Status.Phase, hostClaim.Spec.VolumeName)
			}
		})
	}
	volume, err := host.CoreV1().PersistentVolumes().Get(t.Context(), "attack-operators-volume", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if volume.Spec.ClaimRef != nil {
		t.Errorf("the operator's volume is claimed by %v", volume.Spec.ClaimRef)
	}
}
