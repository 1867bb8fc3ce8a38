package pod

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

const (
	// asleepRetry is when a pod is looked at again whose virtual cluster has fallen asleep: by then this replica serves it no more.
	asleepRetry = 2 * time.Second

	// reasonSlept is why the containers of a pod have ended that slept.
	reasonSlept = "VirtualClusterSlept"
	// exitKilled is what a kubelet reports of a container whose end it has not seen.
	exitKilled = 137
)

// slept is what a tenant pod's containers had behind them when their host pod was made anew.
type slept struct {
	// Restarts of each container, with the one that waking is.
	Restarts map[string]int32 `json:"restarts,omitempty"`
	// Debug are ephemeral containers. They do not come again.
	Debug []string `json:"debug,omitempty"`
}

func epochOf(pod *corev1.Pod) int64 {
	epoch, err := strconv.ParseInt(pod.Annotations[mapping.AnnotationSleepEpoch], 10, 64)
	if err != nil {
		return 0
	}
	return epoch
}

// hasSlept tells whether the last host pod of a tenant's pod is of an earlier epoch.
func (k *kind) hasSlept(scope *engine.Scope, virtualPod *corev1.Pod) bool {
	return markerOf(virtualPod) != "" && epochOf(virtualPod) < scope.Tenant.SleepEpoch &&
		!k.marks.has(scope.Tenant.UID, engine.KeyOf(virtualPod), virtualPod.UID)
}

// wasPutToSleep tells whether a host pod is of an earlier epoch and has not ended by itself before: such a one is left where it is
// until its end is written down in the tenant.
func wasPutToSleep(scope *engine.Scope, hostPod *corev1.Pod) bool {
	if epochOf(hostPod) >= scope.Tenant.SleepEpoch {
		return false
	}
	isEnded := isTerminal(hostPod) && (hostPod.DeletionTimestamp == nil || slices.Contains(hostPod.Finalizers, mapping.FinalizerTerminalStatus))
	return !isEnded
}

// fallsAsleep asks the host whether the virtual cluster has begun to sleep: who puts it to sleep writes that down before the first
// host pod is removed, and a cache may not show it yet. It must be asked after the host pod was found gone.
func (k *kind) fallsAsleep(ctx context.Context, scope *engine.Scope) (bool, error) {
	epoch, err := k.options.Epoch(ctx, scope.Tenant)
	if err != nil {
		return false, &engine.HostError{Action: "ask whether the virtual cluster sleeps", Err: err}
	}
	return epoch != scope.Tenant.SleepEpoch, nil
}

// rest lets a host pod end that was put to sleep. The tenant's pod stays. One that has changed since it was read comes again: it may
// have come to its end, and what a Job has done must not be done twice.
func (k *kind) rest(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod) error {
	if !isTerminal(virtualPod) && markerOf(virtualPod) != "" {
		if err := k.rebooted(ctx, scope, virtualPod); err != nil {
			return err
		}
	}
	resting := hostPod.DeepCopy()
	if controllerutil.RemoveFinalizer(resting, mapping.FinalizerTerminalStatus) {
		unchanged := client.MergeFromWithOptions(hostPod, client.MergeFromWithOptimisticLock{})
		err := scope.HostClient.Patch(ctx, resting, unchanged)
		if client.IgnoreNotFound(err) != nil {
			return &engine.HostError{Action: fmt.Sprintf("release pod %q", engine.KeyOf(hostPod)), Err: err}
		}
	}
	if hostPod.DeletionTimestamp != nil {
		return nil
	}
	return scope.DeleteHost(ctx, resting, client.Preconditions{UID: &resting.UID, ResourceVersion: &resting.ResourceVersion})
}

// revive makes the host pod of a tenant's pod again that lost it to a sleep, on the same node.
func (k *kind) revive(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod) (engine.Result, error) {
	isGone, err := isNodeGone(ctx, scope, virtualPod.Spec.NodeName)
	if err != nil {
		return engine.Result{}, err
	}
	if isGone {
		return engine.Result{}, k.lost(ctx, scope, virtualPod, "the pod's node went away while the virtual cluster slept")
	}
	if err := k.rebooted(ctx, scope, virtualPod); err != nil {
		return engine.Result{}, err
	}
	return k.create(ctx, scope, virtualPod)
}

func isNodeGone(ctx context.Context, scope *engine.Scope, name string) (bool, error) {
	if name == "" {
		return false, nil
	}
	for _, reader := range []client.Reader{scope.HostCache, scope.HostClient} {
		err := reader.Get(ctx, client.ObjectKey{Name: name}, &corev1.Node{})
		if err == nil {
			return false, nil
		}
		if !apierrors.IsNotFound(err) {
			return false, &engine.HostError{Action: fmt.Sprintf("get node %q", name), Err: err}
		}
	}
	return true, nil
}

// rebooted writes into a tenant's pod that none of its containers runs, as a kubelet does that has just been started: until its
// new host pod runs nobody must be sent to an address that is somebody else's by now.
func (k *kind) rebooted(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod) error {
	stopped := virtualPod.DeepCopy()
	stop(&stopped.Status, metav1.NewTime(k.now()))
	changed, err := patch(ctx, scope.VirtualClient, "status", virtualPod, stopped)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("patch status of pod %q: %w", engine.KeyOf(virtualPod), err)
	}
	if changed {
		virtualPod.Status = stopped.Status
	}
	return nil
}

// stop is the status of a pod whose containers have all ended without that anybody saw how. It is pure, and changes nothing the
// second time.
func stop(status *corev1.PodStatus, now metav1.Time) {
	status.PodIP, status.PodIPs = "", nil
	for index := range status.Conditions {
		condition := &status.Conditions[index]
		switch condition.Type {
		case corev1.PodReady, corev1.ContainersReady, corev1.PodReadyToStartContainers:
			if condition.Status != corev1.ConditionFalse {
				condition.Status, condition.Reason, condition.LastTransitionTime = corev1.ConditionFalse, reasonSlept, now
			}
		default:
		}
	}
	for _, statuses := range [][]corev1.ContainerStatus{status.InitContainerStatuses, status.ContainerStatuses} {
		for index := range statuses {
			stopContainer(&statuses[index], now)
		}
	}
	for index := range status.EphemeralContainerStatuses {
		if container := &status.EphemeralContainerStatuses[index]; container.State.Terminated == nil {
			container.State = corev1.ContainerState{Terminated: killed(container, now)}
		}
	}
}

func stopContainer(container *corev1.ContainerStatus, now metav1.Time) {
	container.Ready = false
	if container.Started != nil {
		container.Started = new(false)
	}
	if container.State.Running == nil {
		return
	}
	container.LastTerminationState = corev1.ContainerState{Terminated: killed(container, now)}
	container.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
}

func killed(container *corev1.ContainerStatus, now metav1.Time) *corev1.ContainerStateTerminated {
	ended := &corev1.ContainerStateTerminated{
		ExitCode: exitKilled, Reason: reasonSlept, FinishedAt: now, ContainerID: container.ContainerID,
		Message: "the virtual cluster slept",
	}
	if container.State.Running != nil {
		ended.StartedAt = container.State.Running.StartedAt
	}
	return ended
}

// setEpoch notes on a host pod that is about to be made when it is made, and what its tenant pod has behind it.
func setEpoch(scope *engine.Scope, virtualPod, hostPod *corev1.Pod) error {
	if scope.Tenant.SleepEpoch == 0 {
		return nil
	}
	hostPod.Annotations[mapping.AnnotationSleepEpoch] = strconv.FormatInt(scope.Tenant.SleepEpoch, 10)
	if markerOf(virtualPod) == "" {
		return nil
	}
	content, err := json.Marshal(behind(virtualPod))
	if err != nil {
		return fmt.Errorf("encode what pod %q has behind it: %w", engine.KeyOf(virtualPod), err)
	}
	hostPod.Annotations[mapping.AnnotationSleptThrough] = string(content)
	return nil
}

// behind is what a tenant's pod whose containers are stopped has behind it.
func behind(virtualPod *corev1.Pod) slept {
	had := slept{Restarts: map[string]int32{}}
	for _, statuses := range [][]corev1.ContainerStatus{virtualPod.Status.InitContainerStatuses, virtualPod.Status.ContainerStatuses} {
		for _, status := range statuses {
			restarts := status.RestartCount
			if status.State.Waiting == nil || status.LastTerminationState.Terminated != nil {
				restarts++ // it has run
			}
			if restarts > 0 {
				had.Restarts[status.Name] = restarts
			}
		}
	}
	for _, container := range virtualPod.Spec.EphemeralContainers {
		had.Debug = append(had.Debug, container.Name)
	}
	return had
}

func sleptThrough(hostPod *corev1.Pod) slept {
	var had slept
	if content, ok := hostPod.Annotations[mapping.AnnotationSleptThrough]; ok {
		// Whoever breaks it loses the count of restarts.
		_ = json.Unmarshal([]byte(content), &had)
	}
	return had
}

// afterSleep adds to the status of a host pod that was made anew what its tenant pod had behind it. It is pure.
func afterSleep(virtualPod, hostPod *corev1.Pod, status *corev1.PodStatus) {
	if _, ok := hostPod.Annotations[mapping.AnnotationSleptThrough]; !ok {
		return
	}
	had := sleptThrough(hostPod)
	// A pod has only ever one beginning.
	if virtualPod.Status.Phase == corev1.PodRunning && status.Phase == corev1.PodPending {
		status.Phase = corev1.PodRunning
	}
	status.InitContainerStatuses = continueFrom(status.InitContainerStatuses, virtualPod.Status.InitContainerStatuses, had, virtualPod)
	status.ContainerStatuses = continueFrom(status.ContainerStatuses, virtualPod.Status.ContainerStatuses, had, virtualPod)
	for _, before := range virtualPod.Status.EphemeralContainerStatuses {
		if slices.Contains(had.Debug, before.Name) {
			status.EphemeralContainerStatuses = append(status.EphemeralContainerStatuses, before)
		}
	}
}

func continueFrom(statuses, before []corev1.ContainerStatus, had slept, virtualPod *corev1.Pod) []corev1.ContainerStatus {
	if len(statuses) == 0 {
		return before // the kubelet has not come to them yet
	}
	for index := range statuses {
		status := &statuses[index]
		status.RestartCount += had.Restarts[status.Name]
		position := slices.IndexFunc(before, func(b corev1.ContainerStatus) bool { return b.Name == status.Name })
		if position < 0 {
			continue
		}
		last := before[position]
		if status.LastTerminationState.Terminated == nil && status.RestartCount == had.Restarts[status.Name] {
			status.LastTerminationState = last.LastTerminationState
		}
		// What has ended in a pod that does not restart it runs once more; an API server does not take that for a status.
		if last.State.Terminated != nil && status.State.Terminated == nil && !mayRestart(virtualPod, last) {
			status.State = last.State
		}
	}
	return statuses
}

// mayRestart tells whether an API server lets a container that has ended be reported as not ended.
func mayRestart(virtualPod *corev1.Pod, ended corev1.ContainerStatus) bool {
	policy := virtualPod.Spec.RestartPolicy
	eachContainer(&virtualPod.Spec, func(container *corev1.Container) {
		if container.Name == ended.Name && container.RestartPolicy != nil {
			policy = corev1.RestartPolicy(*container.RestartPolicy)
		}
	})
	switch policy {
	case corev1.RestartPolicyAlways:
		return true
	case corev1.RestartPolicyOnFailure:
		return ended.State.Terminated.ExitCode != 0
	default:
		return false
	}
}
