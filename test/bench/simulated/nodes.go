package simulated

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
)

const (
	// renewEvery is how often the leases are renewed: well within the 40 seconds after which a node counts as lost.
	renewEvery  = 10 * time.Second
	callTimeout = 30 * time.Second
	stopTimeout = time.Minute
)

// Nodes are the simulated nodes of a host.
type Nodes struct {
	hostClient kubernetes.Interface
	count      int
	readyAfter time.Duration

	pods corelisters.PodLister
	// queues are the nodes' own, by their names: a kubelet tells of one pod after the other, and does not wait for other nodes.
	queues  map[string]queue
	numbers atomic.Int64
	running sync.WaitGroup
	cancel  context.CancelFunc
}

type queue = workqueue.TypedRateLimitingInterface[cache.ObjectName]

// Start makes the nodes and returns when pods can be placed on them. A pod is Ready so long after it was bound.
func Start(ctx context.Context, hostClient kubernetes.Interface, count int, readyAfter time.Duration) (*Nodes, error) {
	n := &Nodes{hostClient: hostClient, count: count, readyAfter: readyAfter, queues: map[string]queue{}}
	for index := range count {
		n.queues[nodeName(index)] = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[cache.ObjectName]())
	}
	// The work goes on while the measurement that began it is being cleaned up; Stop ends it.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.cancel = cancel
	err := n.run(work)
	if err == nil {
		err = n.create(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	n.running.Go(func() { n.renewLeases(work) })
	return n, nil
}

func (n *Nodes) run(ctx context.Context) error {
	bound := informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermNotEqualSelector("spec.nodeName", "").String()
	})
	factory := informers.NewSharedInformerFactoryWithOptions(n.hostClient, 0, bound)
	informer := factory.Core().V1().Pods()
	n.pods = informer.Lister()
	if _, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    n.enqueue,
		UpdateFunc: func(_, pod any) { n.enqueue(pod) },
	}); err != nil {
		return fmt.Errorf("watch the host's pods: %w", err)
	}
	factory.StartWithContext(ctx)
	n.running.Go(func() {
		<-ctx.Done()
		for _, queue := range n.queues {
			queue.ShutDown()
		}
		factory.Shutdown()
	})
	for _, queue := range n.queues {
		n.running.Go(func() {
			for n.work(ctx, queue) {
			}
		})
	}
	return nil
}

// enqueue looks at a pod again when it is time for its next step.
func (n *Nodes) enqueue(object any) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	queue, ok := n.queues[pod.Spec.NodeName]
	if !ok {
		return
	}
	switch key := cache.MetaObjectToName(pod); {
	case pod.DeletionTimestamp != nil:
		queue.Add(key)
	case !isReady(pod):
		queue.AddAfter(key, n.readyAfter)
	}
}

func (n *Nodes) work(ctx context.Context, queue queue) bool {
	key, isShutDown := queue.Get()
	if isShutDown {
		return false
	}
	defer queue.Done(key)
	if err := n.advance(ctx, key); err != nil {
		queue.AddRateLimited(key)
		return true
	}
	queue.Forget(key)
	return true
}

func (n *Nodes) advance(ctx context.Context, key cache.ObjectName) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pod, err := n.pods.Pods(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if pod.DeletionTimestamp != nil {
		at := metav1.DeleteOptions{GracePeriodSeconds: new(int64), Preconditions: &metav1.Preconditions{UID: &pod.UID}}
		return ignoreGone(n.hostClient.CoreV1().Pods(key.Namespace).Delete(ctx, key.Name, at))
	}
	if isReady(pod) {
		return nil
	}
	patch, err := runningPatch(pod, podAddress(int(n.numbers.Add(1))), metav1.Now())
	if err != nil {
		return err
	}
	_, err = n.hostClient.CoreV1().Pods(key.Namespace).Patch(ctx, key.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return ignoreGone(err)
}

// ignoreGone takes a pod that has gone, or has a successor, for done.
func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func (n *Nodes) create(ctx context.Context) error {
	for index := range n.count {
		if err := n.createNode(ctx, index); err != nil {
			return fmt.Errorf("create simulated node %q: %w", nodeName(index), err)
		}
	}
	for index := range n.count {
		if err := n.awaitUsable(ctx, nodeName(index)); err != nil {
			return err
		}
	}
	return nil
}

func (n *Nodes) createNode(ctx context.Context, index int) error {
	node := newNode(index)
	created, err := n.hostClient.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if _, err = n.hostClient.CoordinationV1().Leases(corev1.NamespaceNodeLease).Create(ctx, lease(created), metav1.CreateOptions{}); err != nil {
		return err
	}
	// A patch, since the host's controllers write to a new node, too.
	patch, err := json.Marshal(map[string]any{"status": node.Status})
	if err != nil {
		return err
	}
	_, err = n.hostClient.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// lease belongs to its node, and goes with it.
func lease(node *corev1.Node) *coordinationv1.Lease {
	seconds, now := int32(40), metav1.NowMicro()
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: corev1.NamespaceNodeLease, Name: node.Name,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &node.Name, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}
}

// awaitUsable waits until the host's controllers have seen that the node is Ready and have removed their taints.
func (n *Nodes) awaitUsable(ctx context.Context, name string) error {
	source := lab.Objects(n.hostClient, "nodes", &corev1.Node{}, "", name)
	return lab.Await(ctx, fmt.Sprintf("simulated node %q to take pods", name), source, func(object runtime.Object) bool {
		node, ok := object.(*corev1.Node)
		return ok && len(node.Spec.Taints) == 1 && node.Spec.Taints[0].Key == mark
	})
}

func (n *Nodes) renewLeases(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for index := range n.count {
			// One that fails is tried again at the next tick, well before the node counts as lost.
			_ = n.renew(ctx, nodeName(index))
		}
	}
}

func (n *Nodes) renew(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	patch := fmt.Appendf(nil, `{"spec":{"renewTime":%q}}`, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"))
	_, err := n.hostClient.CoordinationV1().Leases(corev1.NamespaceNodeLease).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// Stop removes the nodes and ends the work. Pods that are still on them are then removed by the host.
func (n *Nodes) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var errs []error
	for index := range n.count {
		err := n.hostClient.CoreV1().Nodes().Delete(ctx, nodeName(index), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("delete simulated node %q: %w", nodeName(index), err))
		}
	}
	n.cancel()
	n.running.Wait()
	return errors.Join(errs...)
}
