package virtualcluster

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

const (
	// lostAfter is how long a control plane that was ready may not answer before it counts as not ready: the engine
	// drops its caches of a tenant then, and a busy machine must not have that happen all the time.
	lostAfter = 5 * time.Second
	// isolationPoll is when to ask again whether the host enforces NetworkPolicies, as long as nobody knows.
	isolationPoll = 30 * time.Second
	// tenantCallTimeout bounds a call of a tenant's API server.
	tenantCallTimeout = 5 * time.Second
)

// awaitReady looks once whether the virtual cluster is usable and returns when to look again. It asks the API server
// itself: the pod's readiness is known to the host only seconds later.
func (r *Reconciler) awaitReady(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, made *made) (time.Duration, error) {
	known, now := r.memory.of(vc.UID), r.options.Clock.Now()
	if err := made.connection.probe(ctx); err != nil {
		r.log.Debug("Control plane is not ready", "namespace", vc.Namespace, "name", vc.Name, "reason", err.Error())
		return r.notReady(ctx, vc, known, now, err), nil
	}
	setCondition(vc, clusterv1alpha1.ConditionControlPlaneReady, metav1.ConditionTrue, reasonReady, "The API server answers on /readyz")
	most := r.reportIsolation(vc)
	vc.Status.KubernetesVersion = vc.Spec.KubernetesVersion
	vc.Status.Endpoint = r.options.FrontDoorAddress

	hasDefault, err := hasDefaultServiceAccount(ctx, made.connection)
	if err != nil {
		// Not yet known comes to the same as not yet there: both are looked at again.
		r.log.Debug("Could not look for the default ServiceAccount", "namespace", vc.Namespace, "name", vc.Name, "error", err.Error())
	}
	if !hasDefault {
		message := "The API server answers; its default ServiceAccount does not exist yet"
		setCondition(vc, clusterv1alpha1.ConditionReady, metav1.ConditionFalse, reasonBootstrapping, message)
		return known.pollAfter(now), nil
	}
	if err := r.keepKubernetesService(ctx, vc, made, known); err != nil {
		// A tenant can refuse this with a webhook of its own; it is the one who misses it.
		r.log.Warn("Could not keep default/kubernetes of the virtual cluster", "namespace", vc.Namespace, "name", vc.Name, "error", err.Error())
	}
	vc.Status.KubeconfigSecret = kubeconfigSecretName(vc)
	if err := r.reportRenewal(ctx, vc, made); err != nil {
		r.log.Warn("Could not look whether the credentials are renewed", "namespace", vc.Namespace, "name", vc.Name, "error", err.Error())
	}
	setCondition(vc, clusterv1alpha1.ConditionReady, metav1.ConditionTrue, reasonReady, "The virtual cluster is usable")
	if after := known.pollAfter(now); !r.reportSynced(vc, now.Sub(known.waitingSince)) {
		return after, nil
	}
	known.waitingSince = time.Time{}
	// Never zero: that would be never.
	return r.reportWishes(vc, max(time.Second, min(most, made.renewAt.Sub(now)))), nil
}

// reportIsolation tells what is known of the host's enforcement, and how long that may be kept.
func (r *Reconciler) reportIsolation(vc *clusterv1alpha1.VirtualCluster) time.Duration {
	if r.options.NetworkIsolation == nil {
		return resyncPeriod
	}
	status, reason, message := r.options.NetworkIsolation()
	setCondition(vc, clusterv1alpha1.ConditionNetworkIsolation, status, reason, message)
	if status == metav1.ConditionUnknown {
		return isolationPoll
	}
	return resyncPeriod
}

// pollAfter is when to look again at what is not there yet: at once in the beginning, since seconds count then, and
// rarely when something is wrong.
func (k *remembered) pollAfter(now time.Time) time.Duration {
	if k.waitingSince.IsZero() {
		k.waitingSince = now
	}
	switch waited := now.Sub(k.waitingSince); {
	case waited < 15*time.Second:
		return 50 * time.Millisecond
	case waited < time.Minute:
		return 500 * time.Millisecond
	default:
		return 5 * time.Second
	}
}

func (r *Reconciler) notReady(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, known *remembered, now time.Time, probeErr error) time.Duration {
	after := known.pollAfter(now)
	waited := now.Sub(known.waitingSince)
	wasReady := apimeta.IsStatusConditionTrue(vc.Status.Conditions, clusterv1alpha1.ConditionControlPlaneReady)
	if wasReady && waited < lostAfter {
		return 250 * time.Millisecond
	}
	reason, message := reasonStarting, "The control plane is starting"
	if wasReady || waited > time.Minute {
		reason, message = reasonNotAnswering, "The API server does not answer: "+probeErr.Error()
	}
	if problem := r.podProblem(ctx, vc, waited); problem != "" {
		message = problem
	}
	setProgress(vc, reason, message)
	if r.options.Synced != nil {
		setCondition(vc, clusterv1alpha1.ConditionSynced, metav1.ConditionFalse, reasonNotServing, "The API server does not answer")
	}
	return after
}

// allControlPods are the control plane's pods, those that are going away included.
func (r *Reconciler) allControlPods(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := r.cached.List(ctx, &list, client.InNamespace(mapping.ControlNamespace(vc.Status.ID)), client.MatchingLabels(podLabels(vc)))
	if err != nil {
		return nil, fmt.Errorf("list the pods of the control plane: %w", err)
	}
	return list.Items, nil
}

// controlPods are the control plane's pods that are not going away.
func (r *Reconciler) controlPods(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) ([]corev1.Pod, error) {
	all, err := r.allControlPods(ctx, vc)
	if err != nil {
		return nil, err
	}
	var pods []corev1.Pod
	for _, pod := range all {
		if pod.DeletionTimestamp.IsZero() {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

func hasDefaultServiceAccount(ctx context.Context, connection *connection) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, tenantCallTimeout)
	defer cancel()
	_, err := connection.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// reportSynced sets the condition Synced and tells whether it is final. A virtual cluster that another replica has just served
// counts as served for a moment: a handover is no event for its users.
func (r *Reconciler) reportSynced(vc *clusterv1alpha1.VirtualCluster, waited time.Duration) bool {
	if r.options.Synced == nil {
		return true
	}
	tenant, ok := r.options.Registry.ByUID(vc.UID)
	var isServed bool
	var problem string
	if ok {
		isServed, problem = r.options.Synced(tenant)
	}
	if isServed {
		message := "The sync engine serves the virtual cluster"
		if r.options.Replica != "" {
			message += ", on " + r.options.Replica
		}
		setCondition(vc, clusterv1alpha1.ConditionSynced, metav1.ConditionTrue, reasonServing, message)
		return true
	}
	if problem == "" && waited < lostAfter && apimeta.IsStatusConditionTrue(vc.Status.Conditions, clusterv1alpha1.ConditionSynced) {
		return false
	}
	setCondition(vc, clusterv1alpha1.ConditionSynced, metav1.ConditionFalse, reasonNotServing, cmp.Or(problem, "The sync engine has not taken up the virtual cluster yet"))
	return false
}
