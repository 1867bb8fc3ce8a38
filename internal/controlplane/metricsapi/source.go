package metricsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/metrics/pkg/apis/metrics"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/door"
	"github.com/matryoshka-dev/matryoshka/internal/metricsdoor/usage"
)

// Ask asks the host what the pods of some namespaces use. Its errors are API statuses that the tenant's user can be shown.
type Ask func(ctx context.Context, request usage.Request) (*usage.Response, error)

// AskDoor asks by a client, which stays the caller's.
func AskDoor(client *door.Client) Ask {
	return func(ctx context.Context, request usage.Request) (*usage.Response, error) {
		question, err := json.Marshal(request)
		if err != nil {
			return nil, apierrors.NewInternalError(fmt.Errorf("encode the request for metrics: %w", err))
		}
		response := &usage.Response{}
		err = client.Ask(ctx, usage.Path, question, response, usage.MaxBytes)
		if errors.Is(err, door.ErrNoAnswer) {
			return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("read metrics: %v; try again", err))
		}
		if err != nil {
			return nil, err
		}
		return response, nil
	}
}

// source joins the tenant's objects with what the host has measured.
type source struct {
	ask    Ask
	pods   corelisters.PodLister
	nodes  corelisters.NodeLister
	synced []cache.InformerSynced
}

// ready says whether the objects are known: right after a start nothing would be found.
func (s *source) ready() error {
	for _, synced := range s.synced {
		if !synced() {
			return apierrors.NewServiceUnavailable("the API server is still starting; try again in a moment")
		}
	}
	return nil
}

// ofPods are the metrics of those of the pods that run and have some.
func (s *source) ofPods(ctx context.Context, pods []*corev1.Pod) ([]metrics.PodMetrics, error) {
	running := map[types.NamespacedName]*corev1.Pod{}
	namespaces := map[string]bool{}
	for _, pod := range pods {
		if pod.Status.Phase == corev1.PodRunning {
			running[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = pod
			namespaces[pod.Namespace] = true
		}
	}
	found := []metrics.PodMetrics{}
	for asked := range slices.Chunk(slices.Sorted(maps.Keys(namespaces)), usage.MaxNamespaces) {
		response, err := s.ask(ctx, usage.Request{Namespaces: asked})
		if err != nil {
			return nil, err
		}
		for i := range response.Pods {
			measured := &response.Pods[i]
			pod, ok := running[types.NamespacedName{Namespace: measured.Namespace, Name: measured.Name}]
			if !ok {
				continue
			}
			internal, err := podMetrics(pod, measured)
			if err != nil {
				return nil, err
			}
			found = append(found, internal)
		}
	}
	return found, nil
}

// podMetrics are what the host has measured, with the metadata of the tenant's pod.
func podMetrics(pod *corev1.Pod, measured *metricsv1beta1.PodMetrics) (metrics.PodMetrics, error) {
	result := metrics.PodMetrics{}
	if err := metricsv1beta1.Convert_v1beta1_PodMetrics_To_metrics_PodMetrics(measured, &result, nil); err != nil {
		return result, apierrors.NewInternalError(fmt.Errorf("convert the metrics of pod %s/%s: %w", pod.Namespace, pod.Name, err))
	}
	result.ObjectMeta.Labels = pod.Labels
	result.ObjectMeta.CreationTimestamp = measured.Timestamp
	return result, nil
}

// ofNodes add up the tenant's own pods. A node without any uses nothing.
func (s *source) ofNodes(ctx context.Context, nodes []*corev1.Node) ([]metrics.NodeMetrics, error) {
	wanted := map[string]bool{}
	for _, node := range nodes {
		wanted[node.Name] = true
	}
	all, err := s.pods.List(labels.Everything())
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("list pods: %w", err))
	}
	nodeOf := map[types.NamespacedName]string{}
	pods := slices.DeleteFunc(all, func(pod *corev1.Pod) bool { return !wanted[pod.Spec.NodeName] })
	for _, pod := range pods {
		nodeOf[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = pod.Spec.NodeName
	}
	measured, err := s.ofPods(ctx, pods)
	if err != nil {
		return nil, err
	}
	byNode := map[string][]metrics.PodMetrics{}
	for _, pod := range measured {
		node := nodeOf[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}]
		byNode[node] = append(byNode[node], pod)
	}
	result := make([]metrics.NodeMetrics, 0, len(nodes))
	for _, node := range nodes {
		result = append(result, nodeMetrics(node, byNode[node.Name]))
	}
	return result, nil
}
