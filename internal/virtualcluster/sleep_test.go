package virtualcluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster"
)

// patchSleep changes spec.sleep as its owner would.
func (e *environment) patchSleep(t *testing.T, name, sleep string) {
	t.Helper()
	e.patch(t, name, `{"spec":{"sleep":`+sleep+`}}`)
}

func (e *environment) patch(t *testing.T, name, patch string) {
	t.Helper()
	vc := newVirtualCluster(name)
	if err := e.admin.Patch(t.Context(), vc, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

func (e *environment) awaitPhase(t *testing.T, name string, want tenancyv1alpha1.SleepPhase) *clusterv1alpha1.VirtualCluster {
	t.Helper()
	var vc *clusterv1alpha1.VirtualCluster
	e.eventually(t, fmt.Sprintf("%s is in the phase %q", name, want), func() (err error) {
		if vc, err = e.get(t, name); err != nil {
			return err
		}
		if vc.Status.Sleep.Phase != want {
			return fmt.Errorf("it is in %q: %+v, conditions %+v", vc.Status.Sleep.Phase, vc.Status.Sleep, vc.Status.Conditions)
		}
		return nil
	})
	return vc
}

func (e *environment) replicas(t *testing.T, vc *clusterv1alpha1.VirtualCluster) int32 {
	t.Helper()
	var set appsv1.StatefulSet
	if err := e.admin.Get(t.Context(), client.ObjectKey{Namespace: mapping.ControlNamespace(vc.Status.ID), Name: "controlplane"}, &set); err != nil {
		t.Fatal(err)
	}
	return *set.Spec.Replicas
}

func TestSleep(t *testing.T) {
	env := newEnvironment(t)
	var atRest atomic.Bool
	env.adjust = func(options *virtualcluster.Options) {
		options.AtRest = func(types.UID) bool { return atRest.Load() }
	}
	stop := env.startAgent(t)
	env.create(t, newVirtualCluster("sleepy"))
	vc := env.withID(t, "sleepy")
	env.startControlPlane(t, vc)
	vc = env.awaitReady(t, "sleepy")
	mapped := env.mappedNamespace(t, vc)
	meta := metav1.ObjectMeta{
		Namespace: mapped, Name: "by-hand", Labels: map[string]string{mapping.LabelUID: string(vc.UID), mapping.LabelID: vc.Status.ID},
		Annotations: map[string]string{mapping.AnnotationTenantUID: "x"},
	}
	env.create(t, &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.7"}}}})

	env.patchSleep(t, "sleepy", `{"force":"Asleep"}`)
	// Nothing is stopped before the sync has let go; what is decided is written down.
	env.awaitPhase(t, "sleepy", tenancyv1alpha1.PhaseFallingAsleep)
	env.eventually(t, "the registry knows", func() error {
		if tenant, ok := env.registry.ByUID(vc.UID); !ok || !tenant.Asleep || tenant.SleepEpoch != 1 {
			return fmt.Errorf("it says asleep %t, epoch %d", tenant.Asleep, tenant.SleepEpoch)
		}
		return nil
	})
	key := client.ObjectKey{Namespace: mapped, Name: "job"}
	if err := env.admin.Get(t.Context(), key, &corev1.Pod{}); err != nil {
		t.Errorf("a pod was stopped while the sync was at work: %v", err)
	}
	atRest.Store(true)
	vc = env.awaitPhase(t, "sleepy", tenancyv1alpha1.PhaseAsleep)
	env.eventually(t, "the control plane is at zero", func() error {
		if got := env.replicas(t, vc); got != 0 {
			return fmt.Errorf("it has %d replicas", got)
		}
		return nil
	})
	if err := env.admin.Get(t.Context(), key, &corev1.Pod{}); !apierrors.IsNotFound(err) {
		t.Errorf("the pod of the Job is still there: %v", err)
	}
	if err := env.admin.Get(t.Context(), client.ObjectKey{Namespace: mapped, Name: "by-hand"}, &discoveryv1.EndpointSlice{}); !apierrors.IsNotFound(err) {
		t.Errorf("addresses that will be somebody else's are still endpoints: %v", err)
	}
	for name, object := range map[string]client.Object{"data": &corev1.PersistentVolumeClaim{}, "token": &corev1.Secret{}, "settings": &corev1.ConfigMap{}} {
		if err := env.admin.Get(t.Context(), client.ObjectKey{Namespace: mapped, Name: name}, object); err != nil || object.GetDeletionTimestamp() != nil {
			t.Errorf("the %T did not stay: %v", object, err)
		}
	}
	if saved := vc.Status.Sleep.Saved; saved == nil || saved.Pods < 1 {
		t.Errorf("the sleep saves %+v", saved)
	}
	if condition := apimeta.FindStatusCondition(vc.Status.Conditions, tenancyv1alpha1.ConditionAsleep); condition == nil || condition.Reason != tenancyv1alpha1.ReasonForced {
		t.Errorf("the condition is %+v", condition)
	}

	// What is forced asleep does not wake for somebody who connects.
	asked := time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
	env.patch(t, "sleepy", `{"metadata":{"annotations":{"sleep.matryoshka.dev/wake":"`+asked+`"}}}`)
	env.eventually(t, "the wish is seen", func() error {
		current, err := env.get(t, "sleepy")
		if err == nil && current.Status.Sleep.LastActivity == nil {
			return errors.New("it is not")
		}
		return err
	})
	if vc = env.awaitPhase(t, "sleepy", tenancyv1alpha1.PhaseAsleep); isReady(vc) {
		t.Error("it is ready in its sleep")
	}

	env.patchSleep(t, "sleepy", `null`)
	vc = env.awaitPhase(t, "sleepy", tenancyv1alpha1.PhaseAwake)
	if !isReady(vc) || env.replicas(t, vc) != 1 || vc.Status.Sleep.Epoch != 1 {
		t.Errorf("it is not awake: replicas %d, %+v", env.replicas(t, vc), vc.Status)
	}

	// An agent that dies while pods end is followed by one that goes on.
	held := metav1.ObjectMeta{Namespace: mapped, Name: "held", Labels: meta.Labels, Annotations: map[string]string{mapping.AnnotationSleepEpoch: "1"}}
	env.createJobPod(t, held)
	env.patchPod(t, mapped, "held", `{"metadata":{"finalizers":["example.org/slow","matryoshka.dev/terminal-status"]}}`)
	env.patchSleep(t, "sleepy", `{"force":"Asleep"}`)
	var pod corev1.Pod
	env.eventually(t, "the pod is asked to end", func() error {
		if err := env.admin.Get(t.Context(), client.ObjectKey{Namespace: mapped, Name: "held"}, &pod); err != nil {
			return err
		}
		if pod.DeletionTimestamp == nil || slices.Contains(pod.Finalizers, mapping.FinalizerTerminalStatus) {
			return fmt.Errorf("deletion %v, finalizers %v", pod.DeletionTimestamp, pod.Finalizers)
		}
		return nil
	})
	stop()
	env.startAgent(t)
	env.awaitPhase(t, "sleepy", tenancyv1alpha1.PhaseFallingAsleep)
	// It is woken before the pod has ended: it need not wait for it.
	env.patchSleep(t, "sleepy", `{"force":"Awake"}`)
	vc = env.awaitPhase(t, "sleepy", tenancyv1alpha1.PhaseAwake)
	if vc.Status.Sleep.Epoch != 2 || vc.Status.Sleep.Cause != "" {
		t.Errorf("after the second sleep: %+v", vc.Status.Sleep)
	}
	// Of the present epoch nothing is stopped by one that is behind.
	fresh := held
	fresh.Name, fresh.Annotations = "fresh", map[string]string{mapping.AnnotationSleepEpoch: "2"}
	env.createJobPod(t, fresh)
	env.patchPod(t, mapped, "held", `{"metadata":{"finalizers":null}}`)
	if err := env.admin.Get(t.Context(), client.ObjectKey{Namespace: mapped, Name: "fresh"}, &pod); err != nil || pod.DeletionTimestamp != nil {
		t.Errorf("a pod of the present epoch was stopped: %v", err)
	}
}

func (e *environment) patchPod(t *testing.T, namespace, name, patch string) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := e.admin.Patch(t.Context(), pod, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

// TestWhatCannotSleep: it stays awake, and says why.
func TestWhatCannotSleep(t *testing.T) {
	env := newEnvironment(t)
	env.startAgent(t)
	inMemory := newVirtualCluster("memory")
	inMemory.Spec.Store.Type = clusterv1alpha1.StoreMemory
	inMemory.Spec.Sleep = &tenancyv1alpha1.Sleep{Force: tenancyv1alpha1.ForceAsleep}
	badSchedule := newVirtualCluster("schedule")
	badSchedule.Spec.Sleep = &tenancyv1alpha1.Sleep{Schedule: &tenancyv1alpha1.SleepSchedule{Sleep: "every evening", TimeZone: "UTC"}}
	for reason, vc := range map[string]*clusterv1alpha1.VirtualCluster{
		tenancyv1alpha1.ReasonCannotSleep: inMemory, tenancyv1alpha1.ReasonBadSchedule: badSchedule,
	} {
		env.create(t, vc)
		env.eventually(t, vc.Name+" says why", func() error {
			current, err := env.get(t, vc.Name)
			if err != nil {
				return err
			}
			condition := apimeta.FindStatusCondition(current.Status.Conditions, tenancyv1alpha1.ConditionAsleep)
			if condition == nil || condition.Status != metav1.ConditionFalse || condition.Reason != reason || current.Status.Sleep.IsAsleep() {
				return fmt.Errorf("condition %+v, sleep %+v", condition, current.Status.Sleep)
			}
			return nil
		})
	}
	tooSoon := newVirtualCluster("toosoon")
	tooSoon.Spec.Sleep = &tenancyv1alpha1.Sleep{AfterIdle: &metav1.Duration{Duration: time.Second}}
	if err := env.admin.Create(t.Context(), tooSoon); err == nil || !strings.Contains(err.Error(), "afterIdle must be at least 1m") {
		t.Errorf("got %v", err)
	}
	zone := newVirtualCluster("zone")
	zone.Spec.Sleep = &tenancyv1alpha1.Sleep{Schedule: &tenancyv1alpha1.SleepSchedule{Sleep: "CRON_TZ=Asia/Tokyo 0 20 * * *", TimeZone: "UTC"}}
	if err := env.admin.Create(t.Context(), zone); err == nil || !strings.Contains(err.Error(), "must not name a time zone") {
		t.Errorf("got %v", err)
	}
}

// TestDeletedForIdleness: it is warned of, put off by a wish to wake and while the account is suspended, and then comes.
func TestDeletedForIdleness(t *testing.T) {
	env := newEnvironment(t)
	now := clocktesting.NewFakePassiveClock(time.Now().Truncate(time.Second))
	var isSuspended atomic.Bool
	env.adjust = func(options *virtualcluster.Options) {
		options.Clock = now
		options.Suspended = func(context.Context, *clusterv1alpha1.VirtualCluster) (bool, error) { return isSuspended.Load(), nil }
	}
	env.startAgent(t)
	lazy := newVirtualCluster("lazy")
	lazy.Spec.Sleep = &tenancyv1alpha1.Sleep{AfterIdle: &metav1.Duration{Duration: time.Minute}, DeleteAfterIdle: &metav1.Duration{Duration: 2 * time.Hour}}
	env.create(t, lazy)
	env.eventually(t, "its idleness has begun", func() error {
		vc, err := env.get(t, "lazy")
		if err == nil && vc.Status.Sleep.IdleSince == nil {
			err = fmt.Errorf("its sleep is %+v", vc.Status.Sleep)
		}
		return err
	})
	pokes := 0
	// advance moves the clock and makes the agent look.
	advance := func(by time.Duration) {
		pokes++
		now.SetTime(now.Now().Add(by))
		env.patch(t, "lazy", fmt.Sprintf(`{"metadata":{"annotations":{"example.org/poke":"%d"}}}`, pokes))
	}
	isWarned := func(want metav1.ConditionStatus) {
		t.Helper()
		env.eventually(t, "DeletionDue is "+string(want), func() error {
			vc, err := env.get(t, "lazy")
			if err != nil {
				return err
			}
			condition := apimeta.FindStatusCondition(vc.Status.Conditions, tenancyv1alpha1.ConditionDeletionDue)
			if condition == nil || condition.Status != want {
				return fmt.Errorf("it is %+v; sleep %+v", condition, vc.Status.Sleep)
			}
			return nil
		})
	}
	advance(2 * time.Minute)
	env.awaitPhase(t, "lazy", tenancyv1alpha1.PhaseAsleep)
	isWarned(metav1.ConditionFalse)
	advance(61 * time.Minute)
	isWarned(metav1.ConditionTrue)
	env.eventually(t, "its owner is told", func() error {
		var events corev1.EventList
		if err := env.admin.List(t.Context(), &events, client.InNamespace("demo")); err != nil {
			return err
		}
		var seen []string
		for _, event := range events.Items {
			if event.InvolvedObject.Name == "lazy" && event.Reason == tenancyv1alpha1.ConditionDeletionDue && strings.Contains(event.Message, "matry snooze virtualcluster lazy -n demo") {
				return nil
			}
			seen = append(seen, event.Reason+": "+event.Message)
		}
		return fmt.Errorf("the events are %q", seen)
	})

	// Somebody wants it: it is not deleted.
	env.patch(t, "lazy", `{"metadata":{"annotations":{"sleep.matryoshka.dev/wake":"`+now.Now().UTC().Format(time.RFC3339)+`"}}}`)
	vc := env.withID(t, "lazy")
	env.startControlPlane(t, vc)
	env.awaitPhase(t, "lazy", tenancyv1alpha1.PhaseAwake)
	isWarned(metav1.ConditionFalse)

	advance(2 * time.Minute)
	env.awaitPhase(t, "lazy", tenancyv1alpha1.PhaseAsleep)
	isSuspended.Store(true)
	advance(48 * time.Hour)
	isWarned(metav1.ConditionFalse)
	isSuspended.Store(false)
	advance(time.Second)
	isWarned(metav1.ConditionTrue)
	if vc, err := env.get(t, "lazy"); err != nil || vc.DeletionTimestamp != nil {
		t.Errorf("it was deleted without a warning after its account was suspended: %v", err)
	}
	advance(61 * time.Minute)
	env.awaitGone(t, "lazy")
}
