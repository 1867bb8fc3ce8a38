package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A host with two nodes: pods of a virtual cluster run on both and reach each other, policies hold between the nodes, and logs and
// commands work on either. It comes back with both, with one when one is asked for, and leaves nothing.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	h := extraHost(t)
	if _, err := h.up(t.Context(), "--nodes", "2"); err != nil {
		t.Fatal(err)
	}
	ensureHostNamespace(t, h, "team")
	v := openTenant(t, h, "team", "wide", func() error {
		return h.matry(t.Context(), "create", "vc", "wide", "-n", "team", "--timeout", createTimeout.String()).err
	})
	v.apply(t, "default", testdata(t, "everywhere.yaml"))
	v.reachEachOther(t, 2)

	if err := h.down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.leftovers(); err != nil {
		t.Error(err)
	}
	if _, err := h.up(t.Context(), "--nodes", "2"); err != nil {
		t.Fatal(err)
	}
	v.reachEachOther(t, 2)
	v.apply(t, "default", closed)
	pods := v.everywhere(t, 2)
	eventually(t, startTimeout, func(ctx context.Context) error {
		for i, pod := range pods {
			if seen := v.ask(ctx, pod.Name, pods[1-i].Status.PodIP, "8080"); seen.stdout != "" {
				return fmt.Errorf("pod %s on %s reaches %s on %s against the policy", pod.Name, pod.Spec.NodeName, pods[1-i].Name, pods[1-i].Spec.NodeName)
			}
		}
		return nil
	})

	if err := h.down(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustUp(t, h)
	if nodes := h.mustMatry(t, "kubectl", "get", "nodes", "-o", "name"); strings.Count(nodes, "\n") != 1 {
		t.Errorf("a host that is started with one node has\n%s", nodes)
	}
	v.everywhere(t, 1)
	if err := h.down(t.Context(), "--purge"); err != nil {
		t.Fatal(err)
	}
	if err := h.leftovers(); err != nil {
		t.Error(err)
	}
}

const closed = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: closed
spec:
  podSelector: {}
  policyTypes: [Ingress]
`

// ask gets the page that a pod serves, from another pod.
func (v *tenant) ask(ctx context.Context, from, address, port string) result {
	const get = `printf 'GET /index.html HTTP/1.0\r\n\r\n' | nc -w 3 "$0" "$1" | tail -n 1`
	return v.read(ctx, from, "--", "sh", "-c", get, address, port)
}

// everywhere waits for the pods of the DaemonSet, one on each of so many nodes.
func (v *tenant) everywhere(t *testing.T, nodes int) (pods []corev1.Pod) {
	t.Helper()
	eventually(t, upTimeout, func(ctx context.Context) (err error) {
		pods, err = v.spread(ctx, nodes)
		return err
	})
	return pods
}

// spread are the pods of the DaemonSet in the order of their names. An error says how they are not one on each of so many nodes.
func (v *tenant) spread(ctx context.Context, nodes int) ([]corev1.Pod, error) {
	list, err := v.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=everywhere"})
	if err != nil {
		return nil, err
	}
	on := map[string]bool{}
	for i := range list.Items {
		pod := &list.Items[i]
		if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
			return nil, fmt.Errorf("pod %s: %s", pod.Name, describe(pod))
		}
		on[pod.Spec.NodeName] = true
	}
	if len(list.Items) != nodes || len(on) != nodes {
		return nil, fmt.Errorf("%d pods run on the nodes %v, want one on each of %d", len(list.Items), on, nodes)
	}
	return list.Items, nil
}

// reachEachOther checks the ways between the nodes: from pod to pod, by a Service and by its name, and those of kubectl.
func (v *tenant) reachEachOther(t *testing.T, nodes int) {
	t.Helper()
	for i, pod := range v.everywhere(t, nodes) {
		eventually(t, startTimeout, func(ctx context.Context) error {
			// They are asked for again: after a start of the host, a pod has the address of the last time until its node tells the new one.
			pods, err := v.spread(ctx, nodes)
			if err != nil {
				return err
			}
			other := pods[(i+1)%len(pods)]
			seen := v.ask(ctx, pod.Name, other.Status.PodIP, "8080")
			if seen.err == nil && seen.stdout != other.Name+"\n" {
				return fmt.Errorf("%s answered %q", other.Name, seen.stdout)
			}
			return seen.err
		})
		found := map[string]bool{}
		eventually(t, startTimeout, func(ctx context.Context) error {
			seen := v.ask(ctx, pod.Name, "everywhere", "80")
			if seen.err != nil {
				return seen.err
			}
			if found[seen.stdout] = true; len(found) < nodes {
				return fmt.Errorf("from %s the Service leads to %v only", pod.Spec.NodeName, found)
			}
			return nil
		})
		eventually(t, startTimeout, func(ctx context.Context) error {
			seen := v.kubectl(ctx, "logs", pod.Name)
			if seen.err == nil && seen.stdout != "serving\n" {
				return fmt.Errorf("the log of %s on %s is %q", pod.Name, pod.Spec.NodeName, seen.stdout)
			}
			return seen.err
		})
	}
}
