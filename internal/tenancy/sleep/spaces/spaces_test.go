package spaces_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/sleep/spaces"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// bedroom is a host with an account whose spaces can sleep, and a clock.
type bedroom struct {
	*tenancytest.Host
	clock *clocktesting.FakePassiveClock
	pokes int
}

func newBedroom(t *testing.T) *bedroom {
	t.Helper()
	b := &bedroom{Host: tenancytest.NewHost(t, nil), clock: clocktesting.NewFakePassiveClock(time.Now().Truncate(time.Second))}
	b.StartAgent(t, tenancytest.Parts{More: func(mgr ctrl.Manager, host client.Client) error {
		return spaces.SetupWithManager(mgr, spaces.Options{Host: host, Shards: shards.All(), Logger: slog.New(slog.DiscardHandler), Clock: b.clock})
	}})
	b.Create(t, &tenancyv1alpha1.Account{
		ObjectMeta: metav1.ObjectMeta{Name: "team"},
		Spec:       tenancyv1alpha1.AccountSpec{Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "ann"}}},
	})
	return b
}

func (b *bedroom) space(t *testing.T, name string) {
	t.Helper()
	b.Create(t, &tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: tenancyv1alpha1.SpaceSpec{Account: "team"}})
	b.Eventually(t, "the space "+name+" is ready", func() error {
		var space tenancyv1alpha1.Space
		if err := b.Admin.Get(t.Context(), client.ObjectKey{Name: name}, &space); err != nil {
			return err
		}
		if space.Status.NamespaceUID == "" || !apimeta.IsStatusConditionTrue(space.Status.Conditions, tenancyv1alpha1.ConditionReady) {
			return fmt.Errorf("its status is %+v", space.Status)
		}
		return nil
	})
}

func (b *bedroom) patchSpace(t *testing.T, name, patch string) {
	t.Helper()
	space := &tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := b.Admin.Patch(t.Context(), space, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

func (b *bedroom) sleep(t *testing.T, name, sleep string) {
	t.Helper()
	b.patchSpace(t, name, `{"spec":{"sleep":`+sleep+`}}`)
}

// advance moves the clock and makes the agent look.
func (b *bedroom) advance(t *testing.T, name string, by time.Duration) {
	t.Helper()
	b.pokes++
	b.clock.SetTime(b.clock.Now().Add(by))
	b.patchSpace(t, name, `{"metadata":{"annotations":{"example.org/poke":"`+strconv.Itoa(b.pokes)+`"}}}`)
}

// untilAsleep lets time pass until a space sleeps: what was done in it may have been seen late, and makes it idle anew then.
func (b *bedroom) untilAsleep(t *testing.T, name string, step time.Duration) {
	t.Helper()
	// What people did last may be seen late once. More would be the agent's own writing, which must not count.
	const most = 20 * time.Minute // twice that after which it sleeps
	var advanced time.Time
	passed := time.Duration(0)
	b.Eventually(t, name+" sleeps", func() error {
		if time.Since(advanced) > 2*time.Second && passed <= most {
			b.advance(t, name, step)
			advanced, passed = time.Now(), passed+step
		}
		var space tenancyv1alpha1.Space
		if err := b.Admin.Get(t.Context(), client.ObjectKey{Name: name}, &space); err != nil {
			return err
		}
		if space.Status.Sleep.Phase != tenancyv1alpha1.PhaseAsleep {
			return fmt.Errorf("it is in %q", space.Status.Sleep.Phase)
		}
		return nil
	})
}

func (b *bedroom) awaitPhase(t *testing.T, name string, want tenancyv1alpha1.SleepPhase) *tenancyv1alpha1.Space {
	t.Helper()
	var space tenancyv1alpha1.Space
	b.Eventually(t, fmt.Sprintf("%s is in the phase %s", name, want), func() error {
		if err := b.Admin.Get(t.Context(), client.ObjectKey{Name: name}, &space); err != nil {
			return err
		}
		if space.Status.Sleep.Phase != want {
			return fmt.Errorf("it is in %q: %+v, conditions %+v", space.Status.Sleep.Phase, space.Status.Sleep, space.Status.Conditions)
		}
		return nil
	})
	return &space
}

func podTemplate(name string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyAlways, Containers: []corev1.Container{{Name: "main", Image: "example.test/app", Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
		}}}},
	}
}

func selector(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
}

func deployment(namespace, name string, replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas, Selector: selector(name), Template: podTemplate(name)},
	}
}

// furnish puts one of everything into a space.
func (b *bedroom) furnish(t *testing.T, namespace string) {
	t.Helper()
	excluded := deployment(namespace, "excluded", 2)
	excluded.Annotations = map[string]string{tenancyv1alpha1.AnnotationExclude: "true"}
	operated := deployment(namespace, "operated", 2)
	operated.OwnerReferences = []metav1.OwnerReference{{APIVersion: "example.org/v1", Kind: "App", Name: "app", UID: "x", Controller: new(true)}}
	cron := batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: podTemplate("cron")}}}
	cron.JobTemplate.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	paused := *cron.DeepCopy()
	paused.Suspend = new(true)
	for _, object := range []client.Object{
		deployment(namespace, "web", 3), deployment(namespace, "zero", 0), excluded, operated,
		&appsv1.StatefulSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "db"},
			Spec:       appsv1.StatefulSetSpec{Replicas: new(int32(2)), Selector: selector("db"), Template: podTemplate("db"), ServiceName: "db"},
		},
		&appsv1.ReplicaSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "alone"},
			Spec:       appsv1.ReplicaSetSpec{Replicas: new(int32(4)), Selector: selector("alone"), Template: podTemplate("alone")},
		},
		&batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "tick"}, Spec: cron},
		&batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "paused"}, Spec: paused},
	} {
		b.Create(t, object)
	}
}

// state is how many replicas each workload has, and which CronJobs are suspended; marks are annotations of ours.
func (b *bedroom) state(t *testing.T, namespace string) (state string, marks int) {
	t.Helper()
	var deployments appsv1.DeploymentList
	var statefulSets appsv1.StatefulSetList
	var replicaSets appsv1.ReplicaSetList
	var cronJobs batchv1.CronJobList
	for _, list := range []client.ObjectList{&deployments, &statefulSets, &replicaSets, &cronJobs} {
		if err := b.Admin.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
	}
	var parts []string
	note := func(object client.Object, value any) {
		parts = append(parts, fmt.Sprintf("%s=%v", object.GetName(), value))
		for _, key := range []string{tenancyv1alpha1.AnnotationReplicas, tenancyv1alpha1.AnnotationSuspended} {
			if _, ok := object.GetAnnotations()[key]; ok {
				marks++
			}
		}
	}
	for index := range deployments.Items {
		note(&deployments.Items[index], *deployments.Items[index].Spec.Replicas)
	}
	for index := range statefulSets.Items {
		note(&statefulSets.Items[index], *statefulSets.Items[index].Spec.Replicas)
	}
	for index := range replicaSets.Items {
		if metav1.GetControllerOf(&replicaSets.Items[index]) == nil {
			note(&replicaSets.Items[index], *replicaSets.Items[index].Spec.Replicas)
		}
	}
	for index := range cronJobs.Items {
		note(&cronJobs.Items[index], *cronJobs.Items[index].Spec.Suspend)
	}
	return strings.Join(parts, " "), marks
}

const (
	awake  = "excluded=2 operated=2 web=3 zero=0 db=2 alone=4 paused=true tick=false"
	asleep = "excluded=2 operated=2 web=0 zero=0 db=0 alone=0 paused=true tick=true"
)

func (b *bedroom) awaitState(t *testing.T, namespace, want string, wantMarks int) {
	t.Helper()
	b.Eventually(t, "the workloads are "+want, func() error {
		got, marks := b.state(t, namespace)
		if got != want || marks != wantMarks {
			return fmt.Errorf("they are %s with %d marks, want %d", got, marks, wantMarks)
		}
		return nil
	})
}

func TestSpaces(t *testing.T) {
	b := newBedroom(t)
	t.Run("Force", b.testForce)
	t.Run("Idle", b.testIdle)
	t.Run("Started", b.testStartedInItsSleep)
	t.Run("BrokenSchedule", b.testBrokenSchedule)
	t.Run("Deletion", b.testDeletion)
	t.Run("Confinement", b.testConfinement)
	t.Run("Autoscaler", b.testAutoscaler)
}

// testForce: everything gets back exactly what it had, and what was left alone is left alone.
func (b *bedroom) testForce(t *testing.T) {
	b.space(t, "force")
	b.furnish(t, "force")
	b.sleep(t, "force", `{"force":"Asleep"}`)
	space := b.awaitPhase(t, "force", tenancyv1alpha1.PhaseAsleep)
	b.awaitState(t, "force", asleep, 4)
	if saved := space.Status.Sleep.Saved; saved == nil || saved.Pods != 9 || saved.MilliCPU != 900 || saved.MemoryBytes != 9*64<<20 {
		t.Errorf("it saves %+v, want 9 pods with 900m and 576 MiB", saved)
	}
	// A wish to wake does not help against force.
	b.patchSpace(t, "force", `{"metadata":{"annotations":{"sleep.matryoshka.dev/wake":"2999-01-01T00:00:00Z"}}}`)
	b.advance(t, "force", time.Minute)
	b.awaitPhase(t, "force", tenancyv1alpha1.PhaseAsleep)
	// What somebody scales in its sleep is their wish; what they break of the saved number is one.
	scale := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":7}}`))
	if err := b.Admin.Patch(t.Context(), deployment("force", "web", 0), scale); err != nil {
		t.Fatal(err)
	}
	broken := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"sleep.matryoshka.dev/replicas":"-5"}}}`))
	if err := b.Admin.Patch(t.Context(), &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "force", Name: "alone"}}, broken); err != nil {
		t.Fatal(err)
	}
	b.sleep(t, "force", `null`)
	space = b.awaitPhase(t, "force", tenancyv1alpha1.PhaseAwake)
	b.awaitState(t, "force", "excluded=2 operated=2 web=7 zero=0 db=2 alone=1 paused=true tick=false", 0)
	if space.Status.Sleep.SavedSeconds < 60 || space.Status.Sleep.Epoch != 1 {
		t.Errorf("it says that it slept %d seconds in %d sleeps", space.Status.Sleep.SavedSeconds, space.Status.Sleep.Epoch)
	}
}

// testIdle: the agent's own writing is no activity, people's is.
func (b *bedroom) testIdle(t *testing.T) {
	b.space(t, "idle")
	b.furnish(t, "idle")
	b.sleep(t, "idle", `{"afterIdle":"10m"}`)
	b.Eventually(t, "its idleness has begun", func() error {
		var space tenancyv1alpha1.Space
		err := b.Admin.Get(t.Context(), client.ObjectKey{Name: "idle"}, &space)
		if err == nil && space.Status.Sleep.IdleSince == nil {
			err = errors.New("it has not")
		}
		return err
	})
	b.advance(t, "idle", 9*time.Minute)
	image := client.RawPatch(types.StrategicMergePatchType, []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"example.test/app:2"}]}}}}`))
	if err := b.Admin.Patch(t.Context(), deployment("idle", "web", 0), image); err != nil {
		t.Fatal(err)
	}
	b.Eventually(t, "the change is seen", func() error {
		var space tenancyv1alpha1.Space
		err := b.Admin.Get(t.Context(), client.ObjectKey{Name: "idle"}, &space)
		if err == nil && (space.Status.Sleep.LastActivity == nil || !space.Status.Sleep.LastActivity.Time.Equal(b.clock.Now())) {
			err = fmt.Errorf("the last activity is %v, want %v", space.Status.Sleep.LastActivity, b.clock.Now())
		}
		return err
	})
	b.advance(t, "idle", 9*time.Minute)
	if got, _ := b.state(t, "idle"); got != awake {
		t.Errorf("it sleeps although somebody worked in it: %s", got)
	}
	<-time.After(1100 * time.Millisecond) // who wrote is known by whole seconds: the agent's writing must be in another one
	b.untilAsleep(t, "idle", time.Minute)
	b.awaitState(t, "idle", asleep, 4)
	b.advance(t, "idle", time.Second)
	b.awaitPhase(t, "idle", tenancyv1alpha1.PhaseAsleep)
	b.patchSpace(t, "idle", `{"metadata":{"annotations":{"sleep.matryoshka.dev/wake":"`+b.clock.Now().UTC().Format(time.RFC3339)+`"}}}`)
	b.awaitPhase(t, "idle", tenancyv1alpha1.PhaseAwake)
	b.awaitState(t, "idle", awake, 0)
}

// testStartedInItsSleep: who scales something up in a space that sleeps for idleness wakes it.
func (b *bedroom) testStartedInItsSleep(t *testing.T) {
	b.space(t, "started")
	b.furnish(t, "started")
	b.sleep(t, "started", `{"afterIdle":"10m"}`)
	b.awaitIdle(t, "started")
	b.untilAsleep(t, "started", 11*time.Minute)
	b.clock.SetTime(b.clock.Now().Add(time.Minute))
	scale := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":1}}`))
	if err := b.Admin.Patch(t.Context(), deployment("started", "web", 0), scale); err != nil {
		t.Fatal(err)
	}
	b.awaitPhase(t, "started", tenancyv1alpha1.PhaseAwake)
	b.awaitState(t, "started", strings.Replace(awake, "web=3", "web=1", 1), 0)
}

func (b *bedroom) awaitIdle(t *testing.T, name string) {
	t.Helper()
	b.Eventually(t, "the idleness of "+name+" has begun", func() error {
		var space tenancyv1alpha1.Space
		err := b.Admin.Get(t.Context(), client.ObjectKey{Name: name}, &space)
		if err == nil && space.Status.Sleep.IdleSince == nil {
			err = errors.New("it has not")
		}
		return err
	})
}

// testBrokenSchedule: who breaks the schedule of a space that sleeps by it wakes it; nothing stays at zero.
func (b *bedroom) testBrokenSchedule(t *testing.T) {
	b.space(t, "schedule")
	b.furnish(t, "schedule")
	b.sleep(t, "schedule", `{"schedule":{"sleep":"* * * * *","timeZone":"Europe/Berlin"}}`)
	b.Eventually(t, "the policy is seen", func() error {
		var space tenancyv1alpha1.Space
		err := b.Admin.Get(t.Context(), client.ObjectKey{Name: "schedule"}, &space)
		if err == nil && space.Status.Sleep.NextChange == nil {
			err = errors.New("it is not")
		}
		return err
	})
	b.advance(t, "schedule", time.Minute)
	b.awaitPhase(t, "schedule", tenancyv1alpha1.PhaseAsleep)
	b.sleep(t, "schedule", `{"schedule":{"sleep":"61 * * * *"}}`)
	space := b.awaitPhase(t, "schedule", tenancyv1alpha1.PhaseAwake)
	b.awaitState(t, "schedule", awake, 0)
	condition := apimeta.FindStatusCondition(space.Status.Conditions, tenancyv1alpha1.ConditionAsleep)
	if condition == nil || condition.Reason != tenancyv1alpha1.ReasonBadSchedule || !strings.Contains(condition.Message, "61 * * * *") {
		t.Errorf("the condition is %+v", condition)
	}
}

// testDeletion: it is warned of, comes not while the account is suspended, and is put off by a snooze.
func (b *bedroom) testDeletion(t *testing.T) {
	b.space(t, "lazy")
	b.sleep(t, "lazy", `{"afterIdle":"10m","deleteAfterIdle":"2h"}`)
	b.awaitIdle(t, "lazy")
	b.advance(t, "lazy", 11*time.Minute)
	b.awaitPhase(t, "lazy", tenancyv1alpha1.PhaseAsleep)
	b.advance(t, "lazy", 61*time.Minute)
	b.awaitWarned(t, metav1.ConditionTrue)
	b.Eventually(t, "people in the space are told", func() error {
		var events corev1.EventList
		if err := b.Admin.List(t.Context(), &events, client.InNamespace("lazy")); err != nil {
			return err
		}
		reasons := map[string]bool{}
		for _, event := range events.Items {
			reasons[event.Reason] = true
		}
		if !reasons["FallsAsleep"] || !reasons[tenancyv1alpha1.ConditionDeletionDue] {
			return fmt.Errorf("the events are %v", reasons)
		}
		return nil
	})
	b.patchSpace(t, "lazy", `{"spec":{"sleep":{"snoozeUntil":"`+b.clock.Now().Add(48*time.Hour).UTC().Format(time.RFC3339)+`"}}}`)
	b.awaitWarned(t, metav1.ConditionFalse)
	b.setSuspended(t, true)
	b.advance(t, "lazy", 72*time.Hour)
	b.awaitWarned(t, metav1.ConditionFalse)
	b.setSuspended(t, false)
	b.advance(t, "lazy", time.Second)
	b.awaitWarned(t, metav1.ConditionTrue)
	b.awaitPhase(t, "lazy", tenancyv1alpha1.PhaseAsleep)
	b.advance(t, "lazy", 61*time.Minute)
	b.Eventually(t, "the space is deleted", func() error {
		var space tenancyv1alpha1.Space
		err := b.Admin.Get(t.Context(), client.ObjectKey{Name: "lazy"}, &space)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		if err == nil && space.DeletionTimestamp.IsZero() {
			return fmt.Errorf("its sleep is %+v", space.Status.Sleep)
		}
		return nil
	})
}

func (b *bedroom) setSuspended(t *testing.T, isSuspended bool) {
	t.Helper()
	account := &tenancyv1alpha1.Account{ObjectMeta: metav1.ObjectMeta{Name: "team"}}
	patch := fmt.Appendf(nil, `{"spec":{"suspended":%t}}`, isSuspended)
	if err := b.Admin.Patch(t.Context(), account, client.RawPatch(types.MergePatchType, patch)); err != nil {
		t.Fatal(err)
	}
}

func (b *bedroom) awaitWarned(t *testing.T, want metav1.ConditionStatus) {
	t.Helper()
	b.Eventually(t, "DeletionDue is "+string(want), func() error {
		var space tenancyv1alpha1.Space
		if err := b.Admin.Get(t.Context(), client.ObjectKey{Name: "lazy"}, &space); err != nil {
			return err
		}
		condition := apimeta.FindStatusCondition(space.Status.Conditions, tenancyv1alpha1.ConditionDeletionDue)
		if condition == nil || condition.Status != want {
			return fmt.Errorf("it is %+v; sleep %+v", condition, space.Status.Sleep)
		}
		return nil
	})
}

// testConfinement: the agent can scale what is in spaces, and change nothing else there or anywhere.
func (b *bedroom) testConfinement(t *testing.T) {
	b.space(t, "confined")
	b.Create(t, deployment("confined", "web", 1))
	b.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere"}})
	b.Create(t, deployment("elsewhere", "web", 1))
	agent := b.As(t, tenancytest.AgentUser)
	event := func(apiVersion string) *corev1.Event {
		return &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Namespace: "elsewhere", GenerateName: "x."},
			InvolvedObject: corev1.ObjectReference{APIVersion: apiVersion, Kind: "VirtualCluster", Namespace: "elsewhere", Name: "x"},
		}
	}
	if err := agent.Create(t.Context(), event("cluster.matryoshka.dev/v1alpha1")); err != nil {
		t.Errorf("an event about a virtual cluster: %v", err)
	}
	if err := agent.Create(t.Context(), event("v1")); err == nil {
		t.Error("the agent can write an event about anything")
	}
	cases := map[string]struct {
		namespace, patch string
		allowed          bool
	}{
		"ScaleInSpace":     {"confined", `{"spec":{"replicas":0},"metadata":{"annotations":{"sleep.matryoshka.dev/replicas":"1"}}}`, true},
		"ScaleElsewhere":   {"elsewhere", `{"spec":{"replicas":0}}`, false},
		"ImageInSpace":     {"confined", `{"spec":{"template":{"metadata":{"labels":{"app":"web","x":"y"}}}}}`, false},
		"LabelInSpace":     {"confined", `{"metadata":{"labels":{"x":"y"}}}`, false},
		"OwnerInSpace":     {"confined", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"x"}]}}`, false},
		"ScaleInKubeSpace": {"kube-system", `{"spec":{"replicas":0}}`, false},
	}
	b.Create(t, deployment("kube-system", "web", 1))
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := agent.Patch(t.Context(), deployment(tc.namespace, "web", 0), client.RawPatch(types.MergePatchType, []byte(tc.patch)))
			if (err == nil) != tc.allowed {
				t.Errorf("got %v, want allowed %t", err, tc.allowed)
			}
		})
	}
}

// testAutoscaler: by Kubernetes' own rule an autoscaler leaves what has zero replicas alone, and goes on when it has some again. What it
// does is no activity.
func (b *bedroom) testAutoscaler(t *testing.T) {
	b.space(t, "scaled")
	b.Create(t, deployment("scaled", "web", 3))
	b.Create(t, &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "scaled", Name: "web"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MinReplicas:    new(int32(4)), MaxReplicas: 6,
		},
	})
	b.awaitState(t, "scaled", "web=4", 0)
	b.sleep(t, "scaled", `{"force":"Asleep"}`)
	b.awaitPhase(t, "scaled", tenancyv1alpha1.PhaseAsleep)
	b.Eventually(t, "the autoscaler has seen it", func() error {
		var scaler autoscalingv2.HorizontalPodAutoscaler
		if err := b.Admin.Get(t.Context(), client.ObjectKey{Namespace: "scaled", Name: "web"}, &scaler); err != nil {
			return err
		}
		for _, condition := range scaler.Status.Conditions {
			if condition.Type == autoscalingv2.ScalingActive && condition.Reason == "ScalingDisabled" {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %+v", scaler.Status.Conditions)
	})
	b.awaitState(t, "scaled", "web=0", 1)
	b.sleep(t, "scaled", `null`)
	b.awaitPhase(t, "scaled", tenancyv1alpha1.PhaseAwake)
	b.awaitState(t, "scaled", "web=4", 0)
}
