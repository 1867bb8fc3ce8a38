package controlplane_test

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

func TestSchedulerBindsPods(t *testing.T) {
	cp, client := start(t, config.ControlPlane{
		PKIDirectory: testenv.NewPKI(t), Store: config.Store{Type: config.StoreMemory}, ServiceRanges: []string{"10.96.0.0/16"},
		Scheduler: true,
	})
	t.Cleanup(func() { stop(t, cp) })
	node, err := client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	node.Status.Allocatable = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("10"), corev1.ResourceCPU: resource.MustParse("1")}
	node.Status.Capacity = node.Status.Allocatable
	if node, err = client.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	// What a node lifecycle controller or the sync does when the node is ready.
	eventually(t, "the untainted node", func() error {
		if node, err = client.CoreV1().Nodes().Get(t.Context(), "worker", metav1.GetOptions{}); err != nil {
			return err
		}
		node.Spec.Taints = nil
		_, err := client.CoreV1().Nodes().Update(t.Context(), node, metav1.UpdateOptions{})
		return err
	})
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "web"}}},
	}
	eventually(t, "the pod's creation", func() error {
		_, err := client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
		return err
	})
	eventually(t, "the binding", func() error {
		bound, err := client.CoreV1().Pods("default").Get(t.Context(), "p", metav1.GetOptions{})
		if err == nil && bound.Spec.NodeName != "worker" {
			return errors.New("not bound yet")
		}
		return err
	})
}
