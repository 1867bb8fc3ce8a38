// Package node mirrors the host's nodes into virtual clusters.
//
// A mirror shows what a tenant needs to place pods (labels, taints, capacity, readiness) and no more: no addresses but
// the internal one, no annotations, no images, no identifiers of the machine. It has no heartbeat: a mirror is written
// only when something of it means something else than before.
//
// A tenant with a scheduler of its own sees as allocatable what others leave, and may add labels, taints and extended
// resources, and cordon: an overlay, which is kept on the mirror and means something to its own scheduler only.
//
// Invariants: only Nodes with mapping.LabelMirror are touched, a tenant's own Nodes are not; a mirror exists before the
// first pod is bound to it and until its last pod is gone; what the host says of a node wins over an overlay.
package node

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// Name of the kind.
const Name = "node"

const podIndex = "node/pods"

// usageRetry is how long to wait for what others use to be known. It takes the list of the host's pods, once.
const usageRetry = 500 * time.Millisecond

// Usage tells what everybody but a tenant requests on a node; ok is false while that is not known yet. It is
// *nodeusage.Usage; whoever runs it wakes this kind when its sums change.
type Usage interface {
	Others(node string, tenant types.UID) (sum corev1.ResourceList, ok bool)
}

type kind struct{ usage Usage }

// New makes the kind. usage is asked for tenants with a scheduler of their own.
func New(usage Usage) engine.Kind {
	k := &kind{usage: usage}
	return engine.Kind{
		Name: Name, Object: &corev1.Node{}, Lane: engine.LaneFirst,
		Triggers: []engine.Trigger{
			{Side: engine.Host, Object: &corev1.Node{}, Unfiltered: true, Keys: ownName, Ignore: looksAlike},
			{Side: engine.Virtual, Object: &corev1.Node{}, Ignore: isOnlyHeartbeat},
			{Side: engine.Virtual, Object: &corev1.Pod{}, Keys: nodeOfPod, Ignore: isSameNode},
		},
		Indexes:   []engine.Index{{Side: engine.Virtual, Object: &corev1.Pod{}, Field: podIndex, Values: nodeNames}},
		Reconcile: k.reconcile,
	}
}

func ownName(_ *engine.Scope, object client.Object) []engine.Key {
	return []engine.Key{{Name: object.GetName()}}
}

func nodeNames(object client.Object) []string {
	if pod, ok := object.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
		return []string{pod.Spec.NodeName}
	}
	return nil
}

func nodeOfPod(_ *engine.Scope, object client.Object) []engine.Key {
	var keys []engine.Key
	for _, name := range nodeNames(object) {
		keys = append(keys, engine.Key{Name: name})
	}
	return keys
}

func isSameNode(old, new client.Object) bool {
	oldPod, isOld := old.(*corev1.Pod)
	newPod, isNew := new.(*corev1.Pod)
	return isOld && isNew && oldPod.Spec.NodeName == newPod.Spec.NodeName
}

// looksAlike tells whether two states of a host node have the same mirror.
func looksAlike(old, new client.Object) bool {
	oldNode, isOld := old.(*corev1.Node)
	newNode, isNew := new.(*corev1.Node)
	return isOld && isNew && oldNode.DeletionTimestamp.Equal(newNode.DeletionTimestamp) &&
		equality.Semantic.DeepEqual(mirrorOf(oldNode), mirrorOf(newNode))
}

func isOnlyHeartbeat(old, new client.Object) bool { return looksAlike(old, new) }

// SchedulesItself tells whether the pods of a tenant get their nodes by a scheduler of its own.
func SchedulesItself(tenant tenants.Tenant) bool {
	return tenant.Spec.Scheduling == clusterv1alpha1.SchedulingTenant
}

func (k *kind) reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	hostNode, err := get(ctx, scope.HostCache, key.Name)
	if err != nil {
		return engine.Result{}, fmt.Errorf("get host node %q: %w", key.Name, err)
	}
	virtualNode, err := get(ctx, scope.VirtualCache, key.Name)
	if err != nil {
		return engine.Result{}, fmt.Errorf("get node %q: %w", key.Name, err)
	}
	if virtualNode != nil && virtualNode.Labels[mapping.LabelMirror] != "true" {
		return engine.Result{}, nil // the tenant's own
	}
	isUsed, err := hasPods(ctx, scope, key.Name)
	if err != nil {
		return engine.Result{}, err
	}
	switch {
	case hostNode == nil && virtualNode == nil:
		return engine.Result{}, nil
	case hostNode == nil || !isWanted(scope, hostNode) && !isUsed:
		return engine.Result{}, remove(ctx, scope, virtualNode, isUsed)
	}
	want := mirrorOf(hostNode)
	if SchedulesItself(scope.Tenant) {
		others, ok := k.usage.Others(key.Name, scope.Tenant.UID)
		if !ok {
			// All of the node would be more than there is, and pods would be bound for which there is no room.
			return engine.Result{RequeueAfter: usageRetry}, nil
		}
		want = withoutOthers(want, others)
	}
	if virtualNode == nil {
		return engine.Result{}, create(ctx, scope, hostNode, want)
	}
	return engine.Result{}, update(ctx, scope, hostNode, want, virtualNode)
}

// get returns nil for a node that does not exist.
func get(ctx context.Context, from client.Reader, name string) (*corev1.Node, error) {
	node := &corev1.Node{}
	err := from.Get(ctx, client.ObjectKey{Name: name}, node)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return node, nil
}

// isWanted tells whether a node is mirrored although no pod is on it.
func isWanted(scope *engine.Scope, hostNode *corev1.Node) bool {
	if scope.Tenant.Spec.Nodes.Mode == clusterv1alpha1.NodesUsed {
		return false
	}
	if account := scope.Tenant.Account; account != nil && !labels.SelectorFromSet(account.NodeSelector).Matches(labels.Set(hostNode.Labels)) {
		return false
	}
	return labels.SelectorFromSet(scope.Tenant.Spec.Nodes.Selector).Matches(labels.Set(hostNode.Labels))
}

func hasPods(ctx context.Context, scope *engine.Scope, name string) (bool, error) {
	pods := &corev1.PodList{}
	if err := scope.VirtualCache.List(ctx, pods, client.MatchingFields{podIndex: name}, client.Limit(1), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("list pods on node %q: %w", name, err)
	}
	return len(pods.Items) > 0, nil
}

// remove deletes a mirror. One that has pods stays: without it the tenant's pod collector would end them by force.
func remove(ctx context.Context, scope *engine.Scope, virtualNode *corev1.Node, isUsed bool) error {
	if virtualNode == nil || isUsed {
		return nil
	}
	err := scope.VirtualClient.Delete(ctx, virtualNode, client.Preconditions{UID: &virtualNode.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete node %q: %w", virtualNode.Name, err)
	}
	return nil
}

// Ensure makes the mirror of a node before a pod is bound to it, for tenants whose pods are scheduled by the host. Any other
// has bound its pod to a Node that exists.
func Ensure(ctx context.Context, scope *engine.Scope, name string) error {
	if SchedulesItself(scope.Tenant) {
		return nil
	}
	virtualNode, err := get(ctx, scope.VirtualCache, name)
	if err != nil {
		return fmt.Errorf("get node %q: %w", name, err)
	}
	if virtualNode != nil {
		return nil
	}
	hostNode, err := get(ctx, scope.HostCache, name)
	if err != nil {
		return fmt.Errorf("get host node %q: %w", name, err)
	}
	if hostNode == nil {
		return fmt.Errorf("host node %q is not known yet", name)
	}
	return create(ctx, scope, hostNode, mirrorOf(hostNode))
}

func create(ctx context.Context, scope *engine.Scope, hostNode, want *corev1.Node) error {
	virtualNode := want.DeepCopy()
	virtualNode.Status.Conditions = withHeartbeats(hostNode)
	err := scope.VirtualClient.Create(ctx, virtualNode)
	if apierrors.IsAlreadyExists(err) {
		return nil // its event brings the key again
	}
	if err != nil {
		return fmt.Errorf("create node %q: %w", hostNode.Name, err)
	}
	// Admission has tainted it as not ready.
	created, err := get(ctx, scope.VirtualClient, hostNode.Name)
	if err != nil || created == nil {
		return err
	}
	return update(ctx, scope, hostNode, want, created)
}

// update brings a mirror to what is wanted: first the spec, then the status.
func update(ctx context.Context, scope *engine.Scope, hostNode, want, virtualNode *corev1.Node) error {
	changed := virtualNode.DeepCopy()
	if SchedulesItself(scope.Tenant) {
		was := recordOf(virtualNode)
		setRecord(changed, newRecord(want, virtualNode, was))
		want = withOverlay(want, virtualNode, was)
	}
	changed.Labels = want.Labels
	changed.Spec.Taints, changed.Spec.Unschedulable = want.Spec.Taints, want.Spec.Unschedulable
	if !equality.Semantic.DeepEqual(virtualNode, changed) {
		if err := scope.VirtualClient.Update(ctx, changed); err != nil {
			return fmt.Errorf("update node %q: %w", hostNode.Name, err)
		}
	}
	if equality.Semantic.DeepEqual(withoutHeartbeats(changed.Status), want.Status) {
		return nil
	}
	changed.Status = want.Status
	changed.Status.Conditions = withHeartbeats(hostNode)
	if err := scope.VirtualClient.Status().Update(ctx, changed); err != nil {
		return fmt.Errorf("update status of node %q: %w", hostNode.Name, err)
	}
	return nil
}
