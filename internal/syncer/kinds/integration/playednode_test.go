package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// playedNode plays the scheduler and the kubelet of the host for all pods of virtual clusters, and remembers which host
// pods each tenant's pod had.
type playedNode struct {
	host client.Client

	mu sync.Mutex
	// The following are protected by mu.
	hostPods map[string][]types.UID // by the UID of the tenant's pod
	started  map[types.UID]time.Time
	count    int
	failed   error
}

const playedTick = 50 * time.Millisecond

// preparePods makes what the kinds of pods need of a host, for an engine that runs later, and plays the node.
func (w *world) preparePods(t *testing.T) *playedNode {
	t.Helper()
	w.withPods = true
	w.prepareHost(t)
	create(t, w.host, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-system"}})
	create(t, w.host, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "matryoshka-system", Name: "matryoshka-dns"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.53", Ports: []corev1.ServicePort{{Port: 53, Protocol: corev1.ProtocolUDP}}},
	})
	return w.playNode(t)
}

func (w *world) playNode(t *testing.T) *playedNode {
	t.Helper()
	n := &playedNode{host: w.host, hostPods: map[string][]types.UID{}, started: map[types.UID]time.Time{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(playedTick)
		defer tick.Stop()
		for {
			n.look(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return n
}

func (n *playedNode) look(ctx context.Context) {
	pods := &corev1.PodList{}
	if err := n.host.List(ctx, pods, client.HasLabels{mapping.LabelID}); err != nil {
		n.note(ctx, err)
		return
	}
	for index := range pods.Items {
		n.note(ctx, n.step(ctx, &pods.Items[index]))
	}
}

// note keeps the first error that does not come from others' writing.
func (n *playedNode) note(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failed = errors.Join(n.failed, err)
}

func (n *playedNode) step(ctx context.Context, hostPod *corev1.Pod) error {
	number := n.remember(hostPod)
	switch {
	case hostPod.DeletionTimestamp != nil:
		return n.host.Delete(ctx, hostPod, client.GracePeriodSeconds(0), client.Preconditions{UID: &hostPod.UID})
	case hostPod.Spec.NodeName == "":
		return n.host.SubResource("binding").Create(ctx, hostPod, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: hostPod.Namespace, Name: hostPod.Name, UID: hostPod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: "node-1"},
		})
	case hostPod.Status.Phase == corev1.PodRunning:
		return nil
	}
	now := metav1.Now()
	address := fmt.Sprintf("10.244.%d.%d", number/250, 1+number%250)
	hostPod.Status.Phase, hostPod.Status.StartTime = corev1.PodRunning, &now
	hostPod.Status.PodIP, hostPod.Status.PodIPs = address, []corev1.PodIP{{IP: address}}
	hostPod.Status.HostIP, hostPod.Status.HostIPs = "203.0.113.5", []corev1.HostIP{{IP: "203.0.113.5"}}
	hostPod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
	}
	hostPod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: hostPod.Spec.Containers[0].Name, Image: hostPod.Spec.Containers[0].Image, Ready: true,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
	}}
	n.mu.Lock()
	n.started[hostPod.UID] = time.Now() // before anybody can have seen it
	n.mu.Unlock()
	return n.host.Status().Update(ctx, hostPod)
}

// remember notes whose host pod it is, and gives it a number of its own.
func (n *playedNode) remember(hostPod *corev1.Pod) (number int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	virtualUID := hostPod.Annotations[mapping.AnnotationTenantUID]
	if !slices.Contains(n.hostPods[virtualUID], hostPod.UID) {
		n.hostPods[virtualUID] = append(n.hostPods[virtualUID], hostPod.UID)
		n.count++
	}
	return n.count
}

// startedAt is when the played kubelet wrote that the host pod of a tenant's pod runs.
func (n *playedNode) startedAt(virtualUID types.UID) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, hostUID := range n.hostPods[string(virtualUID)] {
		return n.started[hostUID]
	}
	return time.Time{}
}

// check says what went wrong: a tenant's pod that had two host pods ran twice.
func (n *playedNode) check() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	errs := []error{n.failed}
	for virtualUID, hostUIDs := range n.hostPods {
		if len(hostUIDs) > 1 {
			errs = append(errs, fmt.Errorf("the tenant's pod %s had the host pods %v", virtualUID, hostUIDs))
		}
	}
	return errors.Join(errs...)
}
