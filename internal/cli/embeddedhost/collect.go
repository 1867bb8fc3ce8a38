package embeddedhost

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/install"
	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

// Status is what `matry status -o json` prints. Fields are added, never renamed.
type Status struct {
	// Host is nil when another host cluster was asked for.
	Host            *HostStatus            `json:"host,omitempty"`
	Nodes           []NodeStatus           `json:"nodes,omitempty"`
	Deployments     []DeploymentStatus     `json:"deployments,omitempty"`
	VirtualClusters []VirtualClusterStatus `json:"virtualClusters,omitempty"`
	// Problems are the questions that got no answer, with the reason.
	Problems []string `json:"problems,omitempty"`
}

// HostStatus is the embedded host's process.
type HostStatus struct {
	State      control.State `json:"state"`
	DataDir    string        `json:"dataDir"`
	PID        int           `json:"pid,omitempty"`
	StartedAt  *time.Time    `json:"startedAt,omitempty"`
	API        string        `json:"api,omitempty"`
	FrontDoor  string        `json:"frontDoor,omitempty"`
	Egress     string        `json:"egress,omitempty"`
	Restarts   int           `json:"restarts,omitempty"`
	Error      string        `json:"error,omitempty"`
	Kubeconfig string        `json:"kubeconfig,omitempty"`
}

// NodeStatus is a node of the host cluster.
type NodeStatus struct {
	Name           string `json:"name"`
	Ready          bool   `json:"ready"`
	KubeletVersion string `json:"kubeletVersion"`
	Pods           int    `json:"pods"`
	MaxPods        int64  `json:"maxPods"`
}

// DeploymentStatus is one of the product's Deployments.
type DeploymentStatus struct {
	Name          string `json:"name"`
	Available     bool   `json:"available"`
	Pods          int32  `json:"pods"`
	AvailablePods int32  `json:"availablePods"`
	Image         string `json:"image,omitempty"`
}

// VirtualClusterStatus is a virtual cluster in one line.
type VirtualClusterStatus struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Ready     bool   `json:"ready"`
	Reason    string `json:"reason"`
	ID        string `json:"id,omitempty"`
	Endpoint  string `json:"endpoint,omitempty"`
}

func hostStatus(dataDir string) (*HostStatus, error) {
	layout, err := control.NewLayout(dataDir)
	if err != nil {
		return nil, err
	}
	seen, err := control.GetStatus(dataDir)
	if err != nil {
		return nil, fmt.Errorf("read the status of the embedded host of %q: %w", dataDir, err)
	}
	status := &HostStatus{State: seen.State, DataDir: layout.DataDir, PID: seen.PID, Restarts: seen.Restarts, Error: seen.Error}
	if seen.PID == 0 {
		return status, nil
	}
	status.StartedAt = &seen.StartedAt
	status.API = fmt.Sprintf("https://127.0.0.1:%d", seen.Options.APIPort)
	status.FrontDoor = fmt.Sprintf("https://127.0.0.1:%d", seen.Options.FrontDoorPort)
	status.Egress = string(seen.Options.Egress)
	status.Kubeconfig = layout.Kubeconfig()
	return status, nil
}

func (h *HostStatus) text() string {
	if h.PID == 0 {
		text := "data in " + h.DataDir
		if h.Error != "" {
			text += "; " + h.Error
		}
		return text
	}
	return fmt.Sprintf("process %d, API %s, front door %s, egress %s, data in %s", h.PID, h.API, h.FrontDoor, h.Egress, h.DataDir)
}

// title is the first word of the Deployment's line.
func (d DeploymentStatus) title() string {
	return strings.ToUpper(strings.TrimPrefix(d.Name, "matryoshka-"))
}

// addCluster asks the host cluster. What cannot be answered becomes a problem: the rest is still worth knowing.
func (s *Status) addCluster(ctx context.Context, hostClient client.Reader) {
	for _, add := range []func(context.Context, client.Reader) error{s.addNodes, s.addDeployments, s.addVirtualClusters} {
		if err := add(ctx, hostClient); err != nil {
			s.Problems = append(s.Problems, err.Error())
		}
	}
}

func (s *Status) addNodes(ctx context.Context, hostClient client.Reader) error {
	nodes, pods := &corev1.NodeList{}, &corev1.PodList{}
	if err := hostClient.List(ctx, nodes); err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	if err := hostClient.List(ctx, pods); err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	count := map[string]int{}
	for i := range pods.Items {
		count[pods.Items[i].Spec.NodeName]++
	}
	for i := range nodes.Items {
		node := &nodes.Items[i]
		s.Nodes = append(s.Nodes, NodeStatus{
			Name: node.Name, Ready: isNodeReady(node), KubeletVersion: node.Status.NodeInfo.KubeletVersion,
			Pods: count[node.Name], MaxPods: node.Status.Allocatable.Pods().Value(),
		})
	}
	return nil
}

func isNodeReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (s *Status) addDeployments(ctx context.Context, hostClient client.Reader) error {
	var errs []error
	for _, name := range []string{install.AgentDeployment, install.DNSDeployment} {
		deployment := &appsv1.Deployment{}
		if err := hostClient.Get(ctx, client.ObjectKey{Namespace: install.Namespace, Name: name}, deployment); err != nil {
			errs = append(errs, fmt.Errorf("get deployment %q: %w", install.Namespace+"/"+name, err))
			continue
		}
		status := DeploymentStatus{Name: name, AvailablePods: deployment.Status.AvailableReplicas, Pods: 1}
		if deployment.Spec.Replicas != nil {
			status.Pods = *deployment.Spec.Replicas
		}
		status.Available = status.AvailablePods >= status.Pods
		if containers := deployment.Spec.Template.Spec.Containers; len(containers) > 0 {
			status.Image = containers[0].Image
		}
		s.Deployments = append(s.Deployments, status)
	}
	return errors.Join(errs...)
}

func (s *Status) addVirtualClusters(ctx context.Context, hostClient client.Reader) error {
	list := &clusterv1alpha1.VirtualClusterList{}
	if err := hostClient.List(ctx, list); err != nil {
		return fmt.Errorf("list virtual clusters: %w", err)
	}
	for i := range list.Items {
		vc := &list.Items[i]
		status := VirtualClusterStatus{
			Namespace: vc.Namespace, Name: vc.Name, ID: vc.Status.ID, Endpoint: vc.Status.Endpoint, Reason: "Pending",
		}
		if ready := meta.FindStatusCondition(vc.Status.Conditions, clusterv1alpha1.ConditionReady); ready != nil {
			status.Ready, status.Reason = ready.Status == "True", ready.Reason
		}
		s.VirtualClusters = append(s.VirtualClusters, status)
	}
	return nil
}
