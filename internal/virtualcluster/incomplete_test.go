package virtualcluster_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster"
)

func quantity(text string) resource.Quantity { return resource.MustParse(text) }

func contains(text, part string) bool { return strings.Contains(text, part) }

func resources(cpu, memoryLimit string) *corev1.ResourceRequirements {
	return &corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: quantity(cpu)},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: quantity(memoryLimit)},
	}
}

// agentClient is a client with the agent's rights.
func (e *environment) agentClient(t *testing.T) client.Client {
	t.Helper()
	config := rest.CopyConfig(e.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: agentUser, Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	scheme, err := virtualcluster.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	agent, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return agent
}

// reservedNamespace is what an agent leaves that dies after it has reserved an ID and before it could store it.
func reservedNamespace(vc *clusterv1alpha1.VirtualCluster, id string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: mapping.ControlNamespace(id),
		Labels: map[string]string{
			mapping.LabelKind: mapping.KindControl, mapping.LabelID: id, mapping.LabelUID: string(vc.UID),
			mapping.LabelName: vc.Name, mapping.LabelNamespace: vc.Namespace,
		},
	}}
}

func TestIncomplete(t *testing.T) {
	env := newEnvironment(t)

	interrupted := newVirtualCluster("interrupted")
	interrupted.Finalizers = []string{clusterv1alpha1.Finalizer}
	env.create(t, interrupted)
	if err := env.agentClient(t).Create(t.Context(), reservedNamespace(interrupted, "aaaabbbb")); err != nil {
		t.Fatal(err)
	}
	abandoned := newVirtualCluster("abandoned")
	abandoned.Finalizers = []string{clusterv1alpha1.Finalizer}
	env.create(t, abandoned)
	if err := env.agentClient(t).Create(t.Context(), reservedNamespace(abandoned, "ccccdddd")); err != nil {
		t.Fatal(err)
	}
	if err := env.admin.Delete(t.Context(), abandoned); err != nil {
		t.Fatal(err)
	}
	orphan := reservedNamespace(&clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{
		Namespace: "demo", Name: "interrupted", UID: "somebody-else",
	}}, "eeeeffff")
	if err := env.agentClient(t).Create(t.Context(), orphan); err != nil {
		t.Fatal(err)
	}
	paused := newVirtualCluster("paused")
	paused.Spec.Paused = true
	env.create(t, paused)
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "taken-kubeconfig"}, Data: map[string][]byte{"config": []byte("mine")}}
	env.create(t, foreign)
	env.create(t, newVirtualCluster("taken"))

	stop := env.startAgent(t)

	t.Run("AbandonedCreationIsDeleted", func(t *testing.T) {
		env.awaitGone(t, "abandoned")
		env.eventually(t, "its namespace is gone", func() error { return env.absent(t, "vcp-ccccdddd") })
	})
	t.Run("OrphanedNamespaceIsDeleted", func(t *testing.T) {
		env.eventually(t, "the namespace is gone", func() error { return env.absent(t, "vcp-eeeeffff") })
	})
	t.Run("InterruptedCreationGoesOn", func(t *testing.T) {
		if vc := env.withID(t, "interrupted"); vc.Status.ID != "aaaabbbb" {
			t.Errorf("got the ID %s, want the one that was reserved", vc.Status.ID)
		}
	})
	t.Run("PausedIsLeftAlone", func(t *testing.T) {
		env.eventually(t, "the condition says so", func() error {
			vc, err := env.get(t, "paused")
			if err != nil {
				return err
			}
			ready := apimeta.FindStatusCondition(vc.Status.Conditions, clusterv1alpha1.ConditionReady)
			if ready == nil || ready.Reason != "Paused" || vc.Status.ID != "" || len(vc.Finalizers) != 0 {
				return fmt.Errorf("got %+v", vc)
			}
			return nil
		})
	})
	t.Run("ForeignSecretIsNotAdopted", func(t *testing.T) {
		env.eventually(t, "the condition says so", func() error {
			vc, err := env.get(t, "taken")
			if err != nil {
				return err
			}
			ready := apimeta.FindStatusCondition(vc.Status.Conditions, clusterv1alpha1.ConditionReady)
			if ready == nil || ready.Reason != "NameTaken" {
				return fmt.Errorf("got %+v", vc.Status.Conditions)
			}
			return nil
		})
		vc, err := env.get(t, "taken")
		if err != nil {
			t.Fatal(err)
		}
		if err := env.admin.Delete(t.Context(), vc); err != nil {
			t.Fatal(err)
		}
		env.awaitGone(t, "taken")
		if err := env.admin.Get(t.Context(), client.ObjectKeyFromObject(foreign), foreign); err != nil || string(foreign.Data["config"]) != "mine" {
			t.Errorf("the Secret of somebody else is %q, %v", foreign.Data["config"], err)
		}
	})
	t.Run("RestartChangesNothing", func(t *testing.T) {
		key := client.ObjectKey{Namespace: "vcp-aaaabbbb", Name: "controlplane"}
		var set, again appsv1.StatefulSet
		env.eventually(t, "the StatefulSet is there", func() error { return env.admin.Get(t.Context(), key, &set) })
		var secret, secretAgain corev1.Secret
		secretKey := client.ObjectKey{Namespace: "vcp-aaaabbbb", Name: "pki"}
		if err := env.admin.Get(t.Context(), secretKey, &secret); err != nil {
			t.Fatal(err)
		}
		stop()
		env.startAgent(t)
		env.eventually(t, "the agent has looked at it again", func() error {
			if _, ok := env.registry.ByID("aaaabbbb"); !ok {
				return fmt.Errorf("it is not in the registry")
			}
			return nil
		})
		env.startControlPlane(t, env.withID(t, "interrupted"))
		env.awaitReady(t, "interrupted")
		env.checkKnowsAll(t)
		if err := env.admin.Get(t.Context(), key, &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(set.Spec, again.Spec); diff != "" || set.Generation != again.Generation {
			t.Errorf("the StatefulSet has changed:\n%s", diff)
		}
		if err := env.admin.Get(t.Context(), secretKey, &secretAgain); err != nil || secret.ResourceVersion != secretAgain.ResourceVersion {
			t.Errorf("the certificates were written again: %v", err)
		}
	})
}

// checkKnowsAll asks with the registry of an agent that has come to all tenants, and with one that has come to none.
func (e *environment) checkKnowsAll(t *testing.T) {
	t.Helper()
	e.eventually(t, "the agent knows all tenants", func() error {
		knowsAll, err := virtualcluster.KnowsAll(t.Context(), e.admin, e.registry)
		if err == nil && !knowsAll {
			err = fmt.Errorf("it has %d", len(e.registry.List()))
		}
		return err
	})
	if knowsAll, err := virtualcluster.KnowsAll(t.Context(), e.admin, tenants.NewRegistry()); err != nil || knowsAll {
		t.Errorf("an agent that has just started knows all tenants: %t, %v", knowsAll, err)
	}
}

func (e *environment) absent(t *testing.T, namespace string) error {
	err := e.admin.Get(t.Context(), client.ObjectKey{Name: namespace}, &corev1.Namespace{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get Namespace %q: %w", namespace, err)
	}
	return fmt.Errorf("there is still a Namespace %q", namespace)
}
