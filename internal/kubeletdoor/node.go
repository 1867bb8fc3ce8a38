package kubeletdoor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

const (
	// nodeTimeout bounds an answer about a node.
	nodeTimeout = 20 * time.Second
	// podPage is how many pods are asked of the tenant at once, and maxPods how many are answered.
	podPage = 250
	maxPods = 2000
	// maxPodBytes bounds what is read of the tenant's API server for one answer: what it sends is the tenant's choice.
	maxPodBytes = 32 << 20
)

func (d *Door) serveNode(w http.ResponseWriter, r *http.Request, tenant tenants.Tenant, node string, path nodePath) {
	if path == pathHealthz {
		// The node's health is in its Node object; this says that the tunnel works.
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		writeBody(w, []byte("ok"))
		return
	}
	release, ok := d.listings.acquire(tenant.UID)
	if !ok {
		http.Error(w, "the pods of this virtual cluster's nodes are being listed already; try again in a moment", http.StatusTooManyRequests)
		return
	}
	defer release()
	pods, err := tenantPods(r.Context(), tenant, node)
	if err != nil {
		d.Log.Info("Pods of a node could not be listed", "vcluster", tenant.UID, "node", node, "error", err)
		http.Error(w, "the pods of the node cannot be listed; try again in a moment", http.StatusServiceUnavailable)
		return
	}
	if path == pathRunningPods {
		pods = runningPods(pods)
	}
	body, err := json.Marshal(corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: pods})
	if err != nil {
		http.Error(w, "the pods of the node cannot be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	writeBody(w, body)
}

// tenantPods are the tenant's pods on a node, as the tenant's own API server has them: exactly the tenant's share, and
// nothing of how the host runs them.
func tenantPods(ctx context.Context, tenant tenants.Tenant, node string) ([]corev1.Pod, error) {
	if tenant.VirtualConfig == nil {
		return nil, errors.New("the tenant's API server is not known yet")
	}
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	config := rest.CopyConfig(tenant.VirtualConfig)
	left := int64(maxPodBytes)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &boundedTransport{next: next, left: &left} })
	virtualClient, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the tenant's API server: %w", err)
	}
	options := metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String(),
		Limit:         podPage,
	}
	var pods []corev1.Pod
	for {
		list, err := virtualClient.CoreV1().Pods(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list the tenant's pods on node %q: %w", node, err)
		}
		pods = append(pods, list.Items...)
		if list.Continue == "" {
			return pods, nil
		}
		if len(pods) >= maxPods {
			return nil, fmt.Errorf("the tenant has more than %d pods on node %q", maxPods, node)
		}
		options.Continue = list.Continue
	}
}

// runningPods is the kubelet's short form: what runs, by name and image.
func runningPods(pods []corev1.Pod) []corev1.Pod {
	running := []corev1.Pod{}
	for _, pod := range pods {
		if pod.Status.Phase != corev1.PodRunning {
			continue
		}
		short := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}}
		for _, container := range pod.Spec.Containers {
			short.Spec.Containers = append(short.Spec.Containers, corev1.Container{Name: container.Name, Image: container.Image})
		}
		running = append(running, short)
	}
	return running
}

func writeBody(w http.ResponseWriter, body []byte) {
	// The client is gone if this fails; there is nobody to tell.
	_, _ = w.Write(body)
}
