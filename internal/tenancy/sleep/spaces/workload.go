package spaces

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// fieldManager owns what this package writes.
const fieldManager = client.FieldOwner("matryoshka-sleep")

// yes is the value of annotations that are there or not.
const yes = "true"

// maxReplicas is what a broken annotation can ask for at most.
const maxReplicas = 100000

// workload is something in a space that can be stopped and started.
type workload struct {
	object client.Object
	// replicas and template of what has some; nil of a CronJob.
	replicas *int32
	template *corev1.PodTemplateSpec
	// isSuspended is of a CronJob.
	isSuspended bool
}

// workloads are those of a space that sleep with it.
func (r *Reconciler) workloads(ctx context.Context, namespace string) ([]workload, error) {
	var deployments appsv1.DeploymentList
	var statefulSets appsv1.StatefulSetList
	var replicaSets appsv1.ReplicaSetList
	var cronJobs batchv1.CronJobList
	for _, list := range []client.ObjectList{&deployments, &statefulSets, &replicaSets, &cronJobs} {
		if err := r.host.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("list the workloads of space %q: %w", namespace, err)
		}
	}
	var found []workload
	for index := range deployments.Items {
		one := &deployments.Items[index]
		found = append(found, workload{object: one, replicas: orOne(one.Spec.Replicas), template: &one.Spec.Template})
	}
	for index := range statefulSets.Items {
		one := &statefulSets.Items[index]
		found = append(found, workload{object: one, replicas: orOne(one.Spec.Replicas), template: &one.Spec.Template})
	}
	for index := range replicaSets.Items {
		one := &replicaSets.Items[index]
		found = append(found, workload{object: one, replicas: orOne(one.Spec.Replicas), template: &one.Spec.Template})
	}
	for index := range cronJobs.Items {
		one := &cronJobs.Items[index]
		found = append(found, workload{object: one, isSuspended: one.Spec.Suspend != nil && *one.Spec.Suspend})
	}
	return found, nil
}

func orOne(replicas *int32) *int32 {
	if replicas == nil {
		return new(int32(1))
	}
	return replicas
}

// isLeftAlone tells whether something runs on while its space sleeps: what belongs to a controller, which would scale it up again,
// and what is annotated so.
func isLeftAlone(object client.Object) bool {
	return metav1.GetControllerOf(object) != nil || object.GetAnnotations()[tenancyv1alpha1.AnnotationExclude] == yes || object.GetDeletionTimestamp() != nil
}

// asleepPatch is what puts a workload to sleep; nil when nothing has to be done.
func asleepPatch(one workload) map[string]any {
	switch {
	case isLeftAlone(one.object):
		return nil
	case one.replicas == nil && !one.isSuspended:
		return change(map[string]any{tenancyv1alpha1.AnnotationSuspended: yes}, map[string]any{"suspend": true})
	case one.replicas != nil && *one.replicas > 0:
		return change(map[string]any{tenancyv1alpha1.AnnotationReplicas: strconv.Itoa(int(*one.replicas))}, map[string]any{"replicas": 0})
	default:
		return nil
	}
}

// awakePatch is what wakes a workload; nil when nothing has to be done. What somebody has started meanwhile keeps what they gave it.
// The ReplicaSets of a Deployment get its annotations from their controller and nothing from here.
func awakePatch(one workload) map[string]any {
	annotations := one.object.GetAnnotations()
	if metav1.GetControllerOf(one.object) != nil {
		return nil
	}
	if one.replicas == nil {
		if _, ok := annotations[tenancyv1alpha1.AnnotationSuspended]; !ok {
			return nil
		}
		return change(map[string]any{tenancyv1alpha1.AnnotationSuspended: nil}, map[string]any{"suspend": false})
	}
	saved, ok := annotations[tenancyv1alpha1.AnnotationReplicas]
	if !ok {
		return nil
	}
	forget := map[string]any{tenancyv1alpha1.AnnotationReplicas: nil}
	if *one.replicas > 0 {
		return change(forget, nil)
	}
	return change(forget, map[string]any{"replicas": readReplicas(saved)})
}

// readReplicas reads what was saved. Who breaks it gets one.
func readReplicas(saved string) int32 {
	replicas, err := strconv.ParseInt(saved, 10, 32)
	if err != nil || replicas < 0 || replicas > maxReplicas {
		return 1
	}
	return int32(replicas)
}

func change(annotations, spec map[string]any) map[string]any {
	patch := map[string]any{"metadata": map[string]any{"annotations": annotations}}
	if spec != nil {
		patch["spec"] = spec
	}
	return patch
}

// apply patches each workload against the version that was read, and tells whether all are as they must be. One that the host refuses to
// change keeps none of the others from it.
func (r *Reconciler) apply(ctx context.Context, workloads []workload, patchOf func(workload) map[string]any) (bool, error) {
	isDone := true
	var refused []error
	for _, one := range workloads {
		patch := patchOf(one)
		if patch == nil {
			continue
		}
		metadata, _ := patch["metadata"].(map[string]any)
		metadata["uid"], metadata["resourceVersion"] = one.object.GetUID(), one.object.GetResourceVersion()
		body, err := json.Marshal(patch)
		if err != nil {
			return false, fmt.Errorf("encode the change of a workload: %w", err)
		}
		err = r.host.Patch(ctx, one.object, client.RawPatch(types.MergePatchType, body), fieldManager)
		switch {
		case err == nil, apierrors.IsNotFound(err):
		case apierrors.IsConflict(err):
			isDone = false // somebody has changed it; it is read again
		default:
			refused = append(refused, fmt.Errorf("scale %T %q of space %q: %w", one.object, one.object.GetName(), one.object.GetNamespace(), err))
		}
	}
	return isDone && len(refused) == 0, errors.Join(refused...)
}

// savedBy is what the sleeping workloads would request.
func savedBy(workloads []workload) tenancyv1alpha1.SavedResources {
	var saved tenancyv1alpha1.SavedResources
	for _, one := range workloads {
		text, ok := one.object.GetAnnotations()[tenancyv1alpha1.AnnotationReplicas]
		if !ok || one.replicas == nil || *one.replicas > 0 || metav1.GetControllerOf(one.object) != nil {
			continue
		}
		replicas := readReplicas(text)
		requests := resource.PodRequests(&corev1.Pod{Spec: one.template.Spec}, resource.PodResourcesOptions{})
		saved.Pods += replicas
		saved.MilliCPU += int64(replicas) * requests.Cpu().MilliValue()
		saved.MemoryBytes += int64(replicas) * requests.Memory().Value()
	}
	return saved
}

// deleteBarePods deletes the pods that no controller makes again.
func (r *Reconciler) deleteBarePods(ctx context.Context, namespace string) error {
	var pods corev1.PodList
	if err := r.host.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("list the pods of space %q: %w", namespace, err)
	}
	for index := range pods.Items {
		pod := &pods.Items[index]
		if isLeftAlone(pod) || len(pod.OwnerReferences) > 0 || pod.Annotations[corev1.MirrorPodAnnotationKey] != "" {
			continue
		}
		err := r.host.Delete(ctx, pod, client.Preconditions{UID: &pod.UID})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete pod %q of space %q: %w", pod.Name, namespace, err)
		}
	}
	return nil
}
