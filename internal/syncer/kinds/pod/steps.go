package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/node"
)

// reasonVanished is told of a pod whose host pod was removed by somebody else.
const reasonVanished = "HostPodVanished"

// absent is for a tenant's pod whose host pod the cache does not show: it was never made, or is not visible yet, or is
// gone. The marker says which; where it can be gone, the host is asked.
func (k *kind) absent(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod) (engine.Result, error) {
	isDeleting := virtualPod.DeletionTimestamp != nil
	isMarked := markerOf(virtualPod) != "" || isTerminal(virtualPod) ||
		k.marks.has(scope.Tenant.UID, engine.KeyOf(virtualPod), virtualPod.UID)
	// One that was found vanished has still to be deleted, if an earlier agent did not come that far.
	if isTerminal(virtualPod) && !isDeleting && virtualPod.Status.Reason != reasonVanished {
		return engine.Result{}, nil
	}
	if !isDeleting && !isMarked {
		return k.create(ctx, scope, virtualPod)
	}
	if !isDeleting && !isTerminal(virtualPod) && k.hasSlept(scope, virtualPod) {
		return k.revive(ctx, scope, virtualPod)
	}
	hostPod, err := get(ctx, scope.HostClient, scope.HostKey(virtualPod, engine.KeyOf(virtualPod)))
	if err != nil {
		return engine.Result{}, &engine.HostError{Action: fmt.Sprintf("get pod %q", engine.KeyOf(virtualPod)), Err: err}
	}
	if hostPod != nil && scope.IsCopy(hostPod, virtualPod) {
		return k.both(ctx, scope, virtualPod, hostPod)
	}
	if isDeleting {
		return engine.Result{}, k.end(ctx, scope, virtualPod)
	}
	if sleeps, err := k.fallsAsleep(ctx, scope); err != nil || sleeps {
		return engine.Result{RequeueAfter: asleepRetry}, err
	}
	return engine.Result{}, k.lost(ctx, scope, virtualPod, "the pod was removed by the host cluster")
}

// lost ends a pod whose host pod is gone for good.
func (k *kind) lost(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod, why string) error {
	if err := k.vanished(ctx, scope, virtualPod, why); err != nil {
		return err
	}
	return k.end(ctx, scope, virtualPod)
}

// vanished writes down that a pod ended with its host pod, so that its owner does not believe that it still runs.
func (k *kind) vanished(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod, message string) error {
	now := metav1.NewTime(k.now())
	ended := failed(virtualPod, reasonVanished, message, now)
	if !isHostCondition(corev1.DisruptionTarget, ended.Status.Conditions) {
		ended.Status.Conditions = append(ended.Status.Conditions, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reasonVanished, Message: message, LastTransitionTime: now,
		})
	}
	return k.writeEnd(ctx, scope, virtualPod, ended)
}

// failed is a pod that is not run any more.
func failed(virtualPod *corev1.Pod, reason, message string, now metav1.Time) *corev1.Pod {
	ended := virtualPod.DeepCopy()
	ended.Status.Phase, ended.Status.Reason, ended.Status.Message = corev1.PodFailed, reason, message
	for index := range ended.Status.Conditions {
		condition := &ended.Status.Conditions[index]
		if (condition.Type == corev1.PodReady || condition.Type == corev1.ContainersReady) && condition.Status != corev1.ConditionFalse {
			condition.Status, condition.Reason, condition.LastTransitionTime = corev1.ConditionFalse, "PodFailed", now
		}
	}
	return ended
}

// writeEnd writes down how a pod has ended, and tells it.
func (k *kind) writeEnd(ctx context.Context, scope *engine.Scope, virtualPod, ended *corev1.Pod) error {
	_, err := patch(ctx, scope.VirtualClient, "status", virtualPod, ended)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("patch status of pod %q: %w", engine.KeyOf(virtualPod), err)
	}
	scope.Event(virtualPod, corev1.EventTypeWarning, ended.Status.Reason, ended.Status.Message)
	return nil
}

// end removes a tenant's pod for good, as a kubelet does when the last container has stopped.
func (k *kind) end(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod) error {
	k.bundles.forget(scope.Tenant.UID, engine.KeyOf(virtualPod))
	// What no finalizer of the tenant keeps is deleted once more: an API server first writes that no grace is left and then removes the
	// pod, and it does not come to that when the caller is gone meanwhile.
	isKept := len(virtualPod.Finalizers) > 0
	if grace := virtualPod.DeletionGracePeriodSeconds; isKept && virtualPod.DeletionTimestamp != nil && grace != nil && *grace == 0 {
		return nil // done before
	}
	err := scope.VirtualClient.Delete(ctx, virtualPod, client.GracePeriodSeconds(0), client.Preconditions{UID: &virtualPod.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete pod %q: %w", engine.KeyOf(virtualPod), err)
	}
	return nil
}

// both is for a tenant's pod and its own host pod.
func (k *kind) both(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod) (engine.Result, error) {
	if virtualPod.DeletionTimestamp == nil && wasPutToSleep(scope, hostPod) {
		return engine.Result{}, k.rest(ctx, scope, virtualPod, hostPod)
	}
	if wasRefused(virtualPod) && hostPod.DeletionTimestamp == nil {
		return engine.Result{}, scope.DeleteHost(ctx, hostPod)
	}
	if virtualPod.DeletionTimestamp == nil && hostPod.DeletionTimestamp != nil {
		if sleeps, err := k.fallsAsleep(ctx, scope); err != nil || sleeps {
			return engine.Result{RequeueAfter: asleepRetry}, err
		}
	}
	if hostPod.Spec.NodeName == "" {
		return k.pending(ctx, scope, virtualPod, hostPod)
	}
	virtualPod, err := k.bind(ctx, scope, virtualPod, hostPod)
	if err != nil || virtualPod == nil {
		return engine.Result{}, err
	}
	isWritten, err := k.status(ctx, scope, virtualPod, hostPod)
	if err != nil {
		return engine.Result{}, err
	}
	if err := k.deletion(ctx, scope, virtualPod, hostPod); err != nil {
		return engine.Result{}, err
	}
	if virtualPod.DeletionTimestamp != nil || hostPod.DeletionTimestamp != nil || isTerminal(hostPod) {
		if isWritten {
			return engine.Result{}, nil // the finalizer goes when the tenant's pod is seen to have the status
		}
		return engine.Result{}, k.releaseEnded(ctx, scope, virtualPod, hostPod)
	}
	return k.keep(ctx, scope, virtualPod, hostPod)
}

// pending is for a host pod that has no node yet: only that is told.
func (k *kind) pending(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod) (engine.Result, error) {
	if virtualPod.DeletionTimestamp != nil {
		if err := k.deletion(ctx, scope, virtualPod, hostPod); err != nil || hostPod.DeletionTimestamp == nil {
			return engine.Result{}, err
		}
		// It has never run, so there is no end to write down; kept, it would wait for the tenant's pod, which waits for it.
		return engine.Result{}, k.release(ctx, scope, hostPod)
	}
	if virtualPod.Spec.NodeName == "" {
		if err := k.unscheduled(ctx, scope, virtualPod, hostPod); err != nil {
			return engine.Result{}, err
		}
	}
	if hostPod.DeletionTimestamp != nil {
		return engine.Result{}, k.release(ctx, scope, hostPod)
	}
	var after time.Duration
	if virtualPod.Spec.NodeName != "" {
		var err error
		if after, err = k.unplaced(ctx, scope, virtualPod, hostPod); err != nil {
			return engine.Result{}, err
		}
	}
	result, err := k.keep(ctx, scope, virtualPod, hostPod)
	return engine.Result{RequeueAfter: sooner(result.RequeueAfter, after)}, err
}

// unscheduled tells why the host's scheduler finds no node.
func (k *kind) unscheduled(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod) error {
	told := virtualPod.DeepCopy()
	for _, condition := range hostPod.Status.Conditions {
		if condition.Type != corev1.PodScheduled {
			continue
		}
		condition.Message, condition.ObservedGeneration = scope.Redact(condition.Message), 0
		position := slices.IndexFunc(told.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodScheduled })
		if position < 0 {
			told.Status.Conditions = append(told.Status.Conditions, condition)
		} else {
			told.Status.Conditions[position] = condition
		}
	}
	_, err := patch(ctx, scope.VirtualClient, "status", virtualPod, told)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("patch status of pod %q: %w", engine.KeyOf(virtualPod), err)
	}
	return nil
}

// bind gives the tenant's pod its node and the marker, and returns it as it is then; nil means that it is gone.
func (k *kind) bind(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod) (*corev1.Pod, error) {
	marker := markerFor(virtualPod, hostPod)
	key := engine.KeyOf(virtualPod)
	if markerOf(virtualPod) == hostPod.UID && virtualPod.Spec.NodeName != "" {
		return virtualPod, nil
	}
	bound := virtualPod.DeepCopy()
	bound.Annotations = withAll(virtualPod.Annotations, marker)
	if k.marks.has(scope.Tenant.UID, key, virtualPod.UID) {
		bound.Spec.NodeName = hostPod.Spec.NodeName
		return bound, nil // the cache does not show it yet
	}
	if err := node.Ensure(ctx, scope, hostPod.Spec.NodeName); err != nil {
		return nil, err
	}
	var err error
	if virtualPod.Spec.NodeName != "" {
		_, err = patch(ctx, scope.VirtualClient, "", virtualPod, bound)
	} else {
		err = scope.VirtualClient.SubResource("binding").Create(ctx, virtualPod, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: virtualPod.Namespace, Name: virtualPod.Name, UID: virtualPod.UID, Annotations: marker},
			Target:     corev1.ObjectReference{Kind: "Node", Name: hostPod.Spec.NodeName},
		})
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bind pod %q: %w", key, err)
	}
	k.marks.set(scope.Tenant.UID, key, virtualPod.UID)
	// The API server has written the node and the condition; what is left is the difference to the cached status.
	bound.Spec.NodeName = hostPod.Spec.NodeName
	return bound, nil
}

func withAll(first, second map[string]string) map[string]string {
	all := make(map[string]string, len(first)+len(second))
	for _, from := range []map[string]string{first, second} {
		for key, value := range from {
			all[key] = value
		}
	}
	return all
}

// status carries the host pod's status up and tells whether there was something to write.
func (k *kind) status(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod) (isWritten bool, err error) {
	// A pod that has ended stays ended: its host pod may go back to nothing when its node does.
	if isTerminal(virtualPod) && !isTerminal(hostPod) {
		return false, nil
	}
	updated := virtualPod.DeepCopy()
	updated.Status = statusUp(virtualPod, hostPod, scope.Tenant.Account, scope.Redact)
	isWritten, err = patch(ctx, scope.VirtualClient, "status", virtualPod, updated)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("patch status of pod %q: %w", engine.KeyOf(virtualPod), err)
	}
	return isWritten, nil
}

// deletion carries the wish to delete to the other side, with what is left of the grace.
func (k *kind) deletion(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod) error {
	switch {
	case virtualPod.DeletionTimestamp != nil && hostPod.DeletionTimestamp == nil, isHurried(virtualPod, hostPod):
		// Grace 0 means that the tenant's pod is only kept by a finalizer: a force delete. The host's kubelet still
		// stops the containers properly.
		if grace := virtualPod.DeletionGracePeriodSeconds; grace != nil && *grace > 0 {
			return scope.DeleteHost(ctx, hostPod, client.GracePeriodSeconds(*grace))
		}
		if hostPod.DeletionTimestamp != nil {
			return nil
		}
		return scope.DeleteHost(ctx, hostPod)
	case virtualPod.DeletionTimestamp == nil && hostPod.DeletionTimestamp != nil && !isForced(hostPod):
		left := max(int64(hostPod.DeletionTimestamp.Sub(k.now())/time.Second), 1)
		err := scope.VirtualClient.Delete(ctx, virtualPod, client.GracePeriodSeconds(left), client.Preconditions{UID: &virtualPod.UID})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete pod %q: %w", engine.KeyOf(virtualPod), err)
		}
	}
	return nil
}

// isForced tells whether a host pod is removed without grace: nothing of it runs on, and it is gone in a moment.
func isForced(hostPod *corev1.Pod) bool {
	grace := hostPod.DeletionGracePeriodSeconds
	return hostPod.DeletionTimestamp != nil && grace != nil && *grace == 0
}

// isHurried tells whether the tenant has shortened the grace of a deletion that is under way.
func isHurried(virtualPod, hostPod *corev1.Pod) bool {
	virtual, host := virtualPod.DeletionGracePeriodSeconds, hostPod.DeletionGracePeriodSeconds
	return virtualPod.DeletionTimestamp != nil && hostPod.DeletionTimestamp != nil && virtual != nil && host != nil && *virtual > 0 && *virtual < *host
}

// keep does what a living pod needs: its bundle, and changes down.
func (k *kind) keep(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod) (engine.Result, error) {
	desired, wanted, err := k.translate(ctx, scope, virtualPod)
	if err != nil {
		return engine.Result{}, err
	}
	check, checkErr := k.recheck(ctx, scope, virtualPod, hostPod)
	after, bundleErr := k.bundles.ensure(ctx, scope, virtualPod, hostPod, wanted)
	changeErr := k.changesDown(ctx, scope, virtualPod, hostPod, desired)
	return engine.Result{RequeueAfter: sooner(after, check)}, errors.Join(checkErr, bundleErr, changeErr)
}

// releaseEnded lets the host pod of a Job go after its end is written down in the tenant.
func (k *kind) releaseEnded(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod) error {
	if isTerminal(virtualPod) || isForced(hostPod) {
		return k.release(ctx, scope, hostPod)
	}
	return nil
}

// release removes the agent's finalizer from a host pod.
func (k *kind) release(ctx context.Context, scope *engine.Scope, hostPod *corev1.Pod) error {
	if !slices.Contains(hostPod.Finalizers, mapping.FinalizerTerminalStatus) {
		return nil
	}
	released := hostPod.DeepCopy()
	released.Finalizers = slices.DeleteFunc(released.Finalizers, func(finalizer string) bool { return finalizer == mapping.FinalizerTerminalStatus })
	_, err := patch(ctx, scope.HostClient, "", hostPod, released)
	if client.IgnoreNotFound(err) != nil {
		return &engine.HostError{Action: fmt.Sprintf("release pod %q", engine.KeyOf(hostPod)), Err: err}
	}
	return nil
}
