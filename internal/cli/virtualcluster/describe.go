package virtualcluster

import (
	"context"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// callTimeout bounds a single call of the host's API.
const callTimeout = 30 * time.Second

func describeSpec(vc *clusterv1alpha1.VirtualCluster) [][2]string {
	spec, status := vc.Spec, vc.Status
	store := string(spec.Store.Type)
	if spec.Store.Type == clusterv1alpha1.StoreSQLite {
		store += ", " + spec.Store.Size.String()
	}
	nodes := string(spec.Nodes.Mode)
	if len(spec.Nodes.Selector) > 0 {
		nodes += ", with " + labels.Set(spec.Nodes.Selector).String()
	}
	isolation := "on"
	if spec.Network.Isolation != nil && !*spec.Network.Isolation {
		isolation = "off"
	}
	return [][2]string{
		{"ID", noun.OrNone(status.ID)},
		{"Kubernetes", noun.OrNone(status.KubernetesVersion)},
		{"Endpoint", noun.OrNone(status.Endpoint)},
		{"Server name", noun.OrNone(status.ServerName)},
		{"Kubeconfig", "Secret " + noun.OrNone(status.KubeconfigSecret)},
		{"Replicas", fmt.Sprint(spec.Replicas)},
		{"Store", store},
		{"Nodes", nodes},
		{"Scheduling", string(spec.Scheduling)},
		{"Pod security", string(spec.PodSecurity)},
		{"Isolation", isolation},
		{"Paused", fmt.Sprint(spec.Paused)},
	}
}

// describePods shows the control plane's pods. Who may not read them is told so.
func describePods(ctx context.Context, w io.Writer, hostClient client.Reader, vc *clusterv1alpha1.VirtualCluster) {
	if vc.Status.ID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pods := &corev1.PodList{}
	err := hostClient.List(ctx, pods, client.InNamespace(mapping.ControlNamespace(vc.Status.ID)))
	fmt.Fprintf(w, "Control plane (namespace %s of the host):\n", mapping.ControlNamespace(vc.Status.ID))
	if err != nil {
		fmt.Fprintf(w, "  not shown: %v\n", err)
		return
	}
	fmt.Fprintln(w, "  POD\tPHASE\tNODE\tRESTARTS\tAGE")
	for _, pod := range pods.Items {
		restarts := int32(0)
		for _, container := range pod.Status.ContainerStatuses {
			restarts += container.RestartCount
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%d\t%s\n", pod.Name, pod.Status.Phase, noun.OrNone(pod.Spec.NodeName), restarts, noun.Age(pod.CreationTimestamp))
	}
}
