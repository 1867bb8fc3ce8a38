package integration

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster"
)

// lifecycle adds the controllers of virtual clusters. No control plane ever answers: there is no node.
func lifecycle(mgr ctrl.Manager, host client.Client) error {
	door, err := virtualcluster.LoadDoorAuthority(context.Background(), host, tenancytest.SystemNamespace, time.Now())
	if err != nil {
		return err
	}
	places := virtualcluster.NewPlaces(host, mgr.GetClient(), tenancytest.SystemNamespace)
	return virtualcluster.SetupWithManager(mgr, virtualcluster.Options{
		SystemNamespace: tenancytest.SystemNamespace, Image: "matryoshka.dev/matryd:test", FrontDoorAddress: "https://127.0.0.1:8443",
		DNSService: "matryoshka-dns", Door: door, Registry: tenants.NewRegistry(), Places: places, Suspended: places.Suspended,
	}, slog.New(slog.DiscardHandler))
}

// TestPlaces: of many virtual clusters that are made at once exactly as many are begun as the account may have, by two replicas of
// the agent that each take them all for their own; the others say why, leave nothing on the host, and go on when there is room.
func TestPlaces(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	stop := h.StartAgent(t, tenancytest.Parts{More: lifecycle})
	h.StartAgent(t, tenancytest.Parts{More: lifecycle})
	const limit, asked = 3, 12
	account := &tenancyv1alpha1.Account{ObjectMeta: metav1.ObjectMeta{Name: "team"}, Spec: tenancyv1alpha1.AccountSpec{
		Subjects:          []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: member}},
		VirtualClusters:   tenancyv1alpha1.AccountVirtualClusters{Limit: new(int32(limit))},
		NodeSelector:      map[string]string{"pool": "shared"},
		Tolerations:       []corev1.Toleration{{Key: "team", Operator: corev1.TolerationOpExists}},
		PriorityClassName: "system-cluster-critical",
	}}
	h.Create(t, account)
	h.Create(t, &tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: tenancyv1alpha1.SpaceSpec{Account: "team"}})
	h.Eventually(t, "the space may be used", func() error {
		return h.Admin.Create(t.Context(), newVirtualCluster("web", func(*clusterv1alpha1.VirtualClusterSpec) {}), client.DryRunAll)
	})
	var group sync.WaitGroup
	for index := range asked {
		group.Go(func() {
			vc := newVirtualCluster("web", func(*clusterv1alpha1.VirtualClusterSpec) {})
			vc.Name = fmt.Sprintf("shop-%d", index)
			if err := h.Admin.Create(t.Context(), vc); err != nil {
				t.Errorf("create %s: %v", vc.Name, err)
			}
		})
	}
	group.Wait()

	begun := awaitPlaces(t, h, limit, asked-limit)
	stop() // the other one goes on alone
	checkControl(t, h, begun[0])
	checkNoRights(t, h, begun[0])

	t.Run("Deleted", func(t *testing.T) {
		if err := h.Admin.Delete(t.Context(), begun[0]); err != nil {
			t.Fatal(err)
		}
		h.Eventually(t, "it is gone", h.IsGone(t, begun[0].DeepCopy()))
		awaitPlaces(t, h, limit, asked-limit-1)
	})
	t.Run("Raised", func(t *testing.T) {
		h.Eventually(t, "the limit is raised", func() error {
			if err := h.Admin.Get(t.Context(), client.ObjectKeyFromObject(account), account); err != nil {
				return err
			}
			account.Spec.VirtualClusters.Limit = new(int32(limit + 2))
			return h.Admin.Update(t.Context(), account)
		})
		awaitPlaces(t, h, limit+2, asked-limit-3)
	})
}

// awaitPlaces waits until so many are begun and so many wait, and makes sure that never more are begun.
func awaitPlaces(t *testing.T, h *tenancytest.Host, wantBegun, wantWaiting int) (begun []*clusterv1alpha1.VirtualCluster) {
	t.Helper()
	h.Eventually(t, fmt.Sprintf("%d are begun and %d wait", wantBegun, wantWaiting), func() error {
		var list clusterv1alpha1.VirtualClusterList
		if err := h.Admin.List(t.Context(), &list); err != nil {
			return err
		}
		begun = nil
		waiting, message := 0, ""
		for index := range list.Items {
			vc := &list.Items[index]
			ready := apimeta.FindStatusCondition(vc.Status.Conditions, clusterv1alpha1.ConditionReady)
			switch {
			case vc.Status.ID != "":
				begun = append(begun, vc)
			case ready != nil && ready.Reason == clusterv1alpha1.ReasonAccountLimitReached:
				waiting, message = waiting+1, ready.Message
			}
		}
		var control corev1.NamespaceList
		if err := h.Admin.List(t.Context(), &control, client.MatchingLabels{mapping.LabelKind: mapping.KindControl}); err != nil {
			return err
		}
		// Two replicas that work on the same one may each make it a namespace; one of them is collected later.
		onHost := map[string]bool{}
		for _, namespace := range control.Items {
			onHost[namespace.Labels[mapping.LabelUID]] = true
		}
		if len(begun) > wantBegun || len(onHost) > wantBegun {
			t.Fatalf("%d are begun and %d have namespaces; only %d may", len(begun), len(onHost), wantBegun)
		}
		if len(begun) != wantBegun || waiting != wantWaiting {
			return fmt.Errorf("%d are begun and %d wait", len(begun), waiting)
		}
		if want := fmt.Sprintf("has %d virtual clusters of the %d", wantBegun, wantBegun); !strings.Contains(message, want) {
			return fmt.Errorf("the message is %q, want one with %q", message, want)
		}
		return nil
	})
	return begun
}

// checkControl: the control namespace is the account's, and the control plane is what its policies let through.
func checkControl(t *testing.T, h *tenancytest.Host, vc *clusterv1alpha1.VirtualCluster) {
	t.Helper()
	var namespace corev1.Namespace
	if err := h.Admin.Get(t.Context(), client.ObjectKey{Name: mapping.ControlNamespace(vc.Status.ID)}, &namespace); err != nil {
		t.Fatal(err)
	}
	held, ok, err := rules.Of(&namespace)
	if err != nil || !ok || held.Account != "team" || held.NodeSelector["pool"] != "shared" {
		t.Errorf("the control namespace has the rules %+v: %v, %v", held, ok, err)
	}
	var set appsv1.StatefulSet
	h.Eventually(t, "the control plane is asked for", func() error {
		return h.Admin.Get(t.Context(), client.ObjectKey{Namespace: namespace.Name, Name: "controlplane"}, &set)
	})
	spec := set.Spec.Template.Spec
	if spec.NodeSelector["pool"] != "shared" || spec.PriorityClassName != "system-cluster-critical" || len(spec.Tolerations) != 1 {
		t.Errorf("the control plane has the selector %v, the class %q and the tolerations %v", spec.NodeSelector, spec.PriorityClassName, spec.Tolerations)
	}
	controlPod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: "as-made"},
		Spec:       *spec.DeepCopy(),
	}
	controlPod.Spec.Volumes = append(controlPod.Spec.Volumes, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	h.Eventually(t, "the host takes the pod of the control plane", func() error {
		return h.Admin.Create(t.Context(), controlPod.DeepCopy(), client.DryRunAll)
	})
	controlPod.Spec.NodeSelector = nil
	if err := h.Admin.Create(t.Context(), controlPod, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "matryoshka-account-pods") {
		t.Errorf("got %v, want that the host refuses one on other nodes", err)
	}
}

// checkNoRights: what belongs to the account is not its members': neither the keys of the control plane nor the copies of pods.
func checkNoRights(t *testing.T, h *tenancytest.Host, vc *clusterv1alpha1.VirtualCluster) {
	t.Helper()
	eve := h.As(t, member)
	h.Eventually(t, "a member may use the space", func() error {
		return eve.List(t.Context(), &corev1.SecretList{}, client.InNamespace("web"))
	})
	control := mapping.ControlNamespace(vc.Status.ID)
	mapped := mapping.HostNamespace(vc.Status.ID, "default")
	for _, namespace := range []string{control, mapped} {
		for name, attempt := range map[string]func() error{
			"read secrets": func() error { return eve.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace)) },
			"read pods":    func() error { return eve.List(t.Context(), &corev1.PodList{}, client.InNamespace(namespace)) },
			"make a pod": func() error {
				return eve.Create(t.Context(), pod(namespace, func(*corev1.PodSpec) {}), client.DryRunAll)
			},
			"read the namespace": func() error {
				return eve.Get(t.Context(), client.ObjectKey{Name: namespace}, &corev1.Namespace{})
			},
			"bind themselves": func() error {
				return eve.Create(t.Context(), &rbacv1.RoleBinding{
					ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mine"},
					RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
					Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: member}},
				})
			},
		} {
			if err := attempt(); !apierrors.IsForbidden(err) {
				t.Errorf("a member can %s in %s: %v", name, namespace, err)
			}
		}
	}
}
