package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
)

// TestQuota is the life of a quota, with one replica.
func TestQuota(t *testing.T) {
	h := newHost(t)
	one := h.startAgent(t, "agent-a", shards.All())
	h.installWebhook(t, "make-room", one)
	t.Run("AllOfItAnywhere", func(t *testing.T) { testAllOfItAnywhere(t, h) })
	t.Run("Lowered", func(t *testing.T) { testLowered(t, h) })
	t.Run("Compute", func(t *testing.T) { testCompute(t, h) })
	t.Run("BadInput", func(t *testing.T) { testBadInput(t, h) })
	t.Run("Repaired", func(t *testing.T) { testRepaired(t, h) })
	t.Run("Scopes", func(t *testing.T) { testScopes(t, h) })
	t.Run("InPlace", func(t *testing.T) { testInPlace(t, h, one) })
}

// testAllOfItAnywhere: a user sees no refusal while the account has room, wherever it is; then one, with a warning that says why; and
// what is deleted in one namespace can be used in another.
func testAllOfItAnywhere(t *testing.T, h *host) {
	h.addNamespace(t, "any-a", "any", mapping.KindSpace)
	h.addNamespace(t, "any-b", "any", mapping.KindMapped)
	h.addNamespace(t, "any-c", "any", mapping.KindControl)
	h.addQuota(t, "any", "any", map[corev1.ResourceName]string{"pods": "10", "count/configmaps": "100"})
	h.awaitReady(t, "any")
	started := time.Now()
	refusals := 0
	for index := range 10 {
		refusals += h.createInRoom(t, pod("any-a", fmt.Sprintf("pod-%d", index), ""))
	}
	t.Logf("10 pods in one namespace of three: %s, with %d refusals", time.Since(started), refusals)
	if refusals > 1 {
		t.Errorf("%d of 10 pods were refused although the account had room", refusals)
	}
	err := h.admin.Create(t.Context(), pod("any-b", "more", ""))
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota: matryoshka-any") {
		t.Fatalf("an eleventh pod: %v", err)
	}
	if err := h.admin.Delete(t.Context(), pod("any-a", "pod-3", "")); err != nil {
		t.Fatal(err)
	}
	started = time.Now()
	eventually(t, "the pod's place is given to another namespace", func() error { return h.admin.Create(t.Context(), pod("any-b", "more", "")) })
	t.Logf("moved to another namespace after %s", time.Since(started))
	h.awaitQuota(t, "any", "told", func(q *tenancyv1alpha1.AccountQuota) bool {
		used, hard := q.Status.Used["pods"], q.Status.Hard["pods"]
		return used.Value() == 10 && hard.Value() == 10 && len(q.Status.Namespaces) == 3 && hasCondition(q, tenancyv1alpha1.ConditionWithinQuota, metav1.ConditionTrue)
	})
}

// testLowered: a bound below what is used evicts nothing, lets nothing in, and says so.
func testLowered(t *testing.T, h *host) {
	h.addNamespace(t, "low-a", "low", mapping.KindSpace)
	h.addNamespace(t, "low-b", "low", mapping.KindSpace)
	h.addQuota(t, "low", "low", map[corev1.ResourceName]string{"pods": "6"})
	h.awaitReady(t, "low")
	for index := range 4 {
		h.createInRoom(t, pod("low-a", fmt.Sprintf("pod-%d", index), ""))
	}
	quota := &tenancyv1alpha1.AccountQuota{ObjectMeta: metav1.ObjectMeta{Name: "low"}}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"quota":{"hard":{"pods":"2"}}}}`))
	if err := h.admin.Patch(t.Context(), quota, patch); err != nil {
		t.Fatal(err)
	}
	got := h.awaitQuota(t, "low", "over", func(q *tenancyv1alpha1.AccountQuota) bool {
		return hasCondition(q, tenancyv1alpha1.ConditionWithinQuota, metav1.ConditionFalse)
	})
	for _, condition := range got.Status.Conditions {
		if condition.Type == tenancyv1alpha1.ConditionWithinQuota && !strings.Contains(condition.Message, "pods: 4 used of 2") {
			t.Errorf("the condition says %q", condition.Message)
		}
	}
	eventually(t, "bounds are at most 2", func() error { return h.sumAtMost(t, "low", 2) })
	for _, namespace := range []string{"low-a", "low-b"} {
		eventually(t, "a pod beyond what is used is refused", func() error { // with an old count, the host answers with a conflict
			err := h.admin.Create(t.Context(), pod(namespace, "more", ""))
			if err == nil {
				t.Fatalf("a pod in %s while more is used than the bound", namespace)
			}
			if !apierrors.IsForbidden(err) {
				return err
			}
			return nil
		})
	}
	pods := &corev1.PodList{}
	if err := h.admin.List(t.Context(), pods, client.InNamespace("low-a")); err != nil || len(pods.Items) != 4 {
		t.Errorf("%d pods are left, %v", len(pods.Items), err)
	}
	for index := range 3 {
		if err := h.admin.Delete(t.Context(), pod("low-a", fmt.Sprintf("pod-%d", index), "")); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "room again", func() error { return h.admin.Create(t.Context(), pod("low-b", "more", "")) })
}

func (h *host) sumAtMost(t *testing.T, quota string, most int64) error {
	list := &corev1.ResourceQuotaList{}
	if err := h.admin.List(t.Context(), list, client.MatchingLabels{mapping.LabelAccountQuota: quota}); err != nil {
		return err
	}
	sum := int64(0)
	for _, one := range list.Items {
		spec, hard := one.Spec.Hard["pods"], one.Status.Hard["pods"]
		sum += max(spec.Value(), hard.Value())
	}
	if sum > most {
		return fmt.Errorf("the bounds are %d together", sum)
	}
	return nil
}

// testCompute: units of all kinds, and room that one request needs of several resources at once; a resize needs room, too.
func testCompute(t *testing.T, h *host) {
	h.addNamespace(t, "cpu-a", "cpu", mapping.KindSpace)
	h.addNamespace(t, "cpu-b", "cpu", mapping.KindSpace)
	h.addQuota(t, "cpu", "cpu", map[corev1.ResourceName]string{"requests.cpu": "2500m", "requests.memory": "1.5Gi", "pods": "5"})
	h.addQuota(t, "cpu-two", "cpu", map[corev1.ResourceName]string{"requests.cpu": "2", "services.nodeports": "1", "requests.storage": "1Ti"})
	h.awaitReady(t, "cpu")
	h.awaitReady(t, "cpu-two")
	large := pod("cpu-a", "large", "1900m")
	large.Spec.Containers[0].Resources.Requests[corev1.ResourceMemory] = resource.MustParse("1Gi")
	h.createInRoom(t, large)
	small := pod("cpu-b", "small", "100m")
	small.Spec.Containers[0].Resources.Requests[corev1.ResourceMemory] = resource.MustParse("256Mi")
	h.createInRoom(t, small)
	small = pod("cpu-b", "none", "100m")
	small.Spec.Containers[0].Resources.Requests[corev1.ResourceMemory] = resource.MustParse("1Mi")
	eventually(t, "several quotas of an account must all hold", func() error {
		if err := h.admin.Create(t.Context(), small); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "matryoshka-cpu-two") {
			return errors.Join(errors.New("it is not refused for the second one"), err)
		}
		return nil
	})
	service := func(name string) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "cpu-b", Name: name},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80}}},
		}
	}
	h.createInRoom(t, service("one"))
	if err := h.admin.Create(t.Context(), service("two")); !apierrors.IsForbidden(err) {
		t.Errorf("a second node port: %v", err)
	}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "cpu-b", Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: new("none"),
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1000Gi")}},
		},
	}
	h.createInRoom(t, claim)
}

// testBadInput: each is refused when the quota is written, and its counterpart is not.
func testBadInput(t *testing.T, h *host) {
	for name, tc := range map[string]struct {
		hard map[corev1.ResourceName]string
		want string
	}{
		"good": {hard: map[corev1.ResourceName]string{
			"pods": "10", "cpu": "0.5", "requests.cpu": "100m", "limits.cpu": "1", "memory": "1Gi", "requests.memory": "1e9", "limits.memory": "2G", "count/deployments.apps": "3",
			"count/secrets": "0", "requests.nvidia.com/gpu": "1", "gold.storageclass.storage.k8s.io/requests.storage": "1Ti", "hugepages-2Mi": "1Gi",
			"requests.hugepages-1Gi": "1Gi", "services.loadbalancers": "1",
		}},
		"unknown":         {map[corev1.ResourceName]string{"podz": "1"}, "a quota cannot count"},
		"unknown-request": {map[corev1.ResourceName]string{"requests.pods": "1"}, "a quota cannot count"},
		"bad-count":       {map[corev1.ResourceName]string{"count/": "1"}, "a quota cannot count"},
		"own":             {map[corev1.ResourceName]string{"count/resourcequotas": "1"}, "ResourceQuotas cannot be counted"},
		"negative":        {map[corev1.ResourceName]string{"pods": "-1"}, "must not be negative"},
		"fraction":        {map[corev1.ResourceName]string{"pods": "500m"}, "whole number"},
		"fraction-dot":    {map[corev1.ResourceName]string{"pods": "0.5"}, "whole number"},
		"bytes":           {map[corev1.ResourceName]string{"requests.memory": "100m"}, "whole number"},
		"too-large":       {map[corev1.ResourceName]string{"pods": "1e30"}, "whole number"},
		"limits":          {map[corev1.ResourceName]string{"requests.cpu": "2", "limits.cpu": "1"}, "must not be below that of requests"},
		"limits-memory":   {map[corev1.ResourceName]string{"memory": "2Gi", "limits.memory": "1Gi"}, "must not be below that of requests"},
		"empty":           {map[corev1.ResourceName]string{}, "hard"},
	} {
		t.Run(name, func(t *testing.T) {
			err := h.admin.Create(t.Context(), newQuota("bad-"+name, "bad", tc.hard))
			if tc.want == "" && err != nil || tc.want != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	quota := newQuota("bad-account", "bad", map[corev1.ResourceName]string{"pods": "1"})
	h.create(t, quota)
	other := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"account":"other"}}`))
	if err := h.admin.Patch(t.Context(), quota.DeepCopy(), other); !apierrors.IsInvalid(err) {
		t.Errorf("the account was changed: %v", err)
	}
	// What only a whole ResourceQuota shows to be wrong is told by the condition.
	h.addNamespace(t, "scope-wrong", "scope-wrong", mapping.KindSpace)
	quota = newQuota("scope-wrong", "scope-wrong", map[corev1.ResourceName]string{"services": "1"})
	quota.Spec.Quota.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
	h.create(t, quota)
	h.awaitQuota(t, "scope-wrong", "refused", func(q *tenancyv1alpha1.AccountQuota) bool {
		for _, condition := range q.Status.Conditions {
			if condition.Reason == tenancyv1alpha1.ReasonRefused && strings.Contains(condition.Message, "unsupported scope") {
				return true
			}
		}
		return false
	})
}

// testRepaired: what an admin edits or deletes comes back.
func testRepaired(t *testing.T, h *host) {
	h.addNamespace(t, "repair-a", "repair", mapping.KindSpace)
	h.addNamespace(t, "repair-b", "repair", mapping.KindSpace)
	h.addQuota(t, "repair", "repair", map[corev1.ResourceName]string{"pods": "8"})
	h.awaitReady(t, "repair")
	key := client.ObjectKey{Namespace: "repair-a", Name: "matryoshka-repair"}
	edited := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	if err := h.admin.Patch(t.Context(), edited, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"hard":{"pods":"100","services":"5"}}}`))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the edit is undone", func() error {
		if err := h.admin.Get(t.Context(), key, edited); err != nil {
			return err
		}
		if len(edited.Spec.Hard) != 1 {
			return fmt.Errorf("spec.hard is %v", edited.Spec.Hard)
		}
		return h.sumAtMost(t, "repair", 8)
	})
	if err := h.admin.Delete(t.Context(), edited); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is made again", func() error { return h.admin.Get(t.Context(), key, edited) })
	eventually(t, "it is usable", func() error { return h.admin.Create(t.Context(), pod("repair-a", "one", "")) })
	if err := h.admin.Delete(t.Context(), &tenancyv1alpha1.AccountQuota{ObjectMeta: metav1.ObjectMeta{Name: "repair"}}); err != nil {
		t.Fatal(err)
	}
	// The host's garbage collector looks for kinds that are new to it every 30 seconds, and then lists them.
	eventually(t, "without the quota there is no bound", func() error {
		if err := h.admin.Get(t.Context(), key, edited); !apierrors.IsNotFound(err) {
			return errors.Join(errors.New("the ResourceQuota is there"), err)
		}
		return nil
	})
}

// testScopes: only what has the scopes counts.
func testScopes(t *testing.T, h *host) {
	h.addNamespace(t, "scope-a", "scope", mapping.KindSpace)
	h.addNamespace(t, "scope-b", "scope", mapping.KindSpace)
	quota := newQuota("scope", "scope", map[corev1.ResourceName]string{"pods": "1"})
	quota.Spec.Quota.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
	h.create(t, quota)
	h.awaitReady(t, "scope")
	h.createInRoom(t, pod("scope-a", "counted", ""))
	if err := h.admin.Create(t.Context(), pod("scope-b", "counted", "")); !apierrors.IsForbidden(err) {
		t.Errorf("a second pod of the scope: %v", err)
	}
	h.create(t, pod("scope-b", "not-counted", "100m"))
}

// testInPlace: a namespace that is to be filled can have nothing before it is in the escrow.
func testInPlace(t *testing.T, h *host, one *agent) {
	h.addQuota(t, "place", "place", map[corev1.ResourceName]string{"pods": "3"})
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "place-a", Labels: map[string]string{
		mapping.LabelAccount: "place", mapping.LabelKind: mapping.KindMapped, mapping.LabelID: "x7k2p2q4", mapping.LabelUID: "u",
	}}}
	h.awaitReady(t, "place") // the agent knows the quota
	h.create(t, namespace)
	started := time.Now()
	// Who calls it calls it again when the host counts slowly.
	eventually(t, "in place", func() error { return one.InPlace(t.Context(), namespace) })
	t.Logf("in place after %s", time.Since(started))
	got := &corev1.ResourceQuota{}
	if err := h.admin.Get(t.Context(), client.ObjectKey{Namespace: "place-a", Name: "matryoshka-place"}, got); err != nil {
		t.Fatal(err)
	}
	if _, ok := got.Status.Used["pods"]; !ok || got.Labels[mapping.LabelUID] != "u" {
		t.Errorf("in place, but not counted or not labelled: %+v", got)
	}
	if err := one.InPlace(t.Context(), namespace); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if err := one.InPlace(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}); err != nil {
		t.Errorf("a namespace without account: %v", err)
	}
}
