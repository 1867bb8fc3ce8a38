package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/namespaces"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/quota"
)

// TestAccountQuota: a tenant's pods are counted with those of a space of the same account. One that does not fit stays Pending, with an
// event that says why in the account's numbers, and begins by itself when somebody makes room, in the space or in the virtual cluster.
func TestAccountQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.preparePods(t)
	keeper := w.keepQuotas(t)
	w.explain = keeper.Explain
	belongs := func(ctx context.Context, hostNamespace *corev1.Namespace) error {
		belonging := hostNamespace.DeepCopy()
		belonging.Labels[mapping.LabelAccount] = "team-a"
		if err := w.host.Patch(ctx, belonging, client.MergeFrom(hostNamespace)); err != nil {
			return err
		}
		return keeper.InPlace(ctx, belonging)
	}
	w.ensurer = namespaces.New(newClient(t, w.agentConfig), namespaces.Options{InPlace: belongs})
	create(t, w.host, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "space-a", Labels: map[string]string{
		mapping.LabelAccount: "team-a", mapping.LabelKind: mapping.KindSpace,
	}}})
	await(t, w.host, client.ObjectKey{Namespace: "space-a", Name: "default"}, &corev1.ServiceAccount{}, func(*corev1.ServiceAccount) error { return nil })
	// A pod that is there before the part of the quota is counted by nobody for minutes; nobody may use a space before it is in place.
	await(t, w.host, client.ObjectKey{Namespace: "space-a", Name: "matryoshka-compute"}, &corev1.ResourceQuota{}, func(part *corev1.ResourceQuota) error {
		if _, isCounted := part.Status.Hard[corev1.ResourcePods]; !isCounted {
			return fmt.Errorf("the host does not count yet: %v", part.Status)
		}
		return nil
	})
	inSpace := quotaPod("space-a", "web")
	eventually(t, "a pod in the space", func() error { return ignoreExists(w.host.Create(t.Context(), inSpace)) })

	w.run(t)
	create(t, w.virtual, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	await(t, w.virtual, client.ObjectKey{Namespace: "shop", Name: "default"}, &corev1.ServiceAccount{}, func(*corev1.ServiceAccount) error { return nil })
	for index := range 2 {
		create(t, w.virtual, quotaPod("shop", fmt.Sprintf("web-%d", index)))
	}
	for index := range 2 {
		w.isOnHost(t, fmt.Sprintf("web-%d", index))
	}
	for index := 2; index < 4; index++ {
		create(t, w.virtual, quotaPod("shop", fmt.Sprintf("web-%d", index)))
		w.isTold(t, fmt.Sprintf("web-%d", index), `the quota "compute" of the account has no room for it (pods: asked 1, used 3, hard 3)`)
	}
	if err := w.host.Delete(t.Context(), inSpace, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	eventually(t, "one of the two begins when the space has made room", func() error {
		first, second := w.onHost(t, "web-2"), w.onHost(t, "web-3")
		if first == nil || second == nil {
			return nil
		}
		return errors.Join(first, second)
	})
	t.Logf("began %s after the deletion in the space", time.Since(started))
	if err := w.virtual.Delete(t.Context(), quotaPod("shop", "web-0"), client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	started = time.Now()
	for index := 2; index < 4; index++ {
		w.isOnHost(t, fmt.Sprintf("web-%d", index))
	}
	t.Logf("the other began %s after the deletion beside it", time.Since(started))
}

func ignoreExists(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func quotaPod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: pointer(false), Containers: []corev1.Container{{Name: "main", Image: "example.test/app:1"}},
		},
	}
}

// keepQuotas runs the keeper of a quota of three pods.
func (w *world) keepQuotas(t *testing.T) *quota.Controller {
	t.Helper()
	known := runtime.NewScheme()
	if err := tenancyv1alpha1.AddToScheme(known); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(w.hostConfig)
	config.ContentConfig, config.QPS = rest.ContentConfig{}, -1
	admin, err := client.New(config, client.Options{Scheme: known})
	if err != nil {
		t.Fatal(err)
	}
	create(t, admin, &tenancyv1alpha1.AccountQuota{ObjectMeta: metav1.ObjectMeta{Name: "compute"}, Spec: tenancyv1alpha1.AccountQuotaSpec{
		Account: "team-a", Quota: tenancyv1alpha1.QuotaSpec{Hard: map[corev1.ResourceName]resource.Quantity{"pods": resource.MustParse("3")}},
	}})
	keeper, err := quota.New(quota.Options{Host: config, Replica: "agent-a", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := keeper.Run(ctx); err != nil {
			t.Errorf("keep quotas: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); group.Wait() })
	if !keeper.Synced(ctx) {
		t.Fatal("the keeper's caches are not filled")
	}
	return keeper
}

func (w *world) isOnHost(t *testing.T, name string) {
	t.Helper()
	eventually(t, name+" is on the host", func() error {
		hostNamespace := mapping.HostNamespace(w.tenant.ID, "shop")
		return w.host.Get(t.Context(), client.ObjectKey{Namespace: hostNamespace, Name: name}, &corev1.Pod{})
	})
}

func (w *world) onHost(t *testing.T, name string) error {
	return w.host.Get(t.Context(), client.ObjectKey{Namespace: mapping.HostNamespace(w.tenant.ID, "shop"), Name: name}, &corev1.Pod{})
}

func (w *world) isTold(t *testing.T, name, what string) {
	t.Helper()
	eventually(t, name+" is told", func() error {
		events := &corev1.EventList{}
		if err := w.virtual.List(t.Context(), events, client.InNamespace("shop"), client.MatchingFields{"involvedObject.name": name}); err != nil {
			return err
		}
		var messages []string
		for _, event := range events.Items {
			if event.Reason == engine.ReasonHostRejected && strings.Contains(event.Message, what) {
				return nil
			}
			messages = append(messages, event.Message)
		}
		return fmt.Errorf("events: %q", messages)
	})
	virtualPod := &corev1.Pod{}
	if err := w.virtual.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, virtualPod); err != nil || virtualPod.Status.Phase != corev1.PodPending {
		t.Errorf("pod %s: %v, phase %q", name, err, virtualPod.Status.Phase)
	}
}
