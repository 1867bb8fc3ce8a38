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

// A pod that the host does not allow stays Pending in the tenant, with the host's reason as an event. It is not deleted.
func TestPodThatTheHostRefusesStaysPending(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "refused")
	const manifest = `
apiVersion: v1
kind: Pod
metadata: {name: mighty}
spec:
  containers:
  - {name: mighty, image: IMAGE(busybox), command: [sleep, "600"], securityContext: {privileged: true}}
`
	v.apply(t, namespace, manifest)
	v.hasEvent(t, namespace, "mighty", "privileged")
	pod, err := v.client.CoreV1().Pods(namespace).Get(t.Context(), "mighty", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if pod.Status.Phase != corev1.PodPending || pod.DeletionTimestamp != nil {
		t.Errorf("the pod is %s (deleted at %v), want it Pending", pod.Status.Phase, pod.DeletionTimestamp)
	}
	_, err = v.host.client(t).CoreV1().Pods(mapping.HostNamespace(v.id, namespace)).Get(t.Context(), "mighty", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the host has the privileged pod (%v)", err)
	}
}

// An object on the host that has the name of a tenant's object, but was made by somebody else, is not adopted, not
// overwritten and not mounted.
func TestForeignObjectOnTheHostIsLeftAlone(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "foreign")
	// A first pod brings the mapped namespace onto the host.
	v.apply(t, namespace, testdata(t, "shell.yaml"))
	v.podReady(t, namespace, "shell")

	host := v.host.client(t)
	hostNamespace := mapping.HostNamespace(v.id, namespace)
	foreign := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"owner": "host"}}
	before, err := host.CoreV1().ConfigMaps(hostNamespace).Create(t.Context(), foreign, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v.apply(t, namespace, testdata(t, "deployment.yaml"))
	eventually(t, startTimeout, func(ctx context.Context) error {
		events, err := v.client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, event := range events.Items {
			if event.Type == corev1.EventTypeWarning && strings.Contains(event.Message, "settings") {
				return nil
			}
		}
		return fmt.Errorf("none of %d events warns about the ConfigMap", len(events.Items))
	})
	after, err := host.CoreV1().ConfigMaps(hostNamespace).Get(t.Context(), "settings", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if after.ResourceVersion != before.ResourceVersion || after.Data["owner"] != "host" {
		t.Errorf("the foreign ConfigMap was changed: %v", after.Data)
	}
	web := v.onlyPod(t, namespace, "app=web")
	if web.Status.Phase != corev1.PodPending {
		t.Errorf("a pod that would mount a foreign ConfigMap is %s, want Pending", web.Status.Phase)
	}
}

// hasEvent waits for a warning about a tenant's object whose message has a word in it, and checks that it tells no name of the
// host.
func (v *tenant) hasEvent(t *testing.T, namespace, name, word string) {
	t.Helper()
	eventually(t, startTimeout, func(ctx context.Context) error {
		events, err := v.client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
		if err != nil {
			return err
		}
		for _, event := range events.Items {
			if strings.Contains(event.Message, v.id) {
				t.Errorf("an event tells the tenant a name of the host: %s", event.Message)
			}
			if event.Type == corev1.EventTypeWarning && strings.Contains(event.Message, word) {
				return nil
			}
		}
		return fmt.Errorf("none of %d events about %q is a warning about %q", len(events.Items), name, word)
	})
}
