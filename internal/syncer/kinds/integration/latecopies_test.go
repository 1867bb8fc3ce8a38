package integration

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// TestCopiesThatComeLate: copies of ConfigMaps and Secrets do not outlive the pods that refer to them, however soon these go.
func TestCopiesThatComeLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.preparePods(t)
	w.run(t)
	create(t, w.virtual, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "web"}})
	await(t, w.virtual, client.ObjectKey{Namespace: "web", Name: "default"}, &corev1.ServiceAccount{}, func(*corev1.ServiceAccount) error { return nil })
	hostNamespace := mapping.HostNamespace(w.tenant.ID, "web")
	left := func() (names []string) {
		for _, list := range []client.ObjectList{&corev1.ConfigMapList{}, &corev1.SecretList{}} {
			if err := w.host.List(t.Context(), list, client.InNamespace(hostNamespace)); err != nil {
				t.Fatal(err)
			}
			switch list := list.(type) {
			case *corev1.ConfigMapList:
				for index := range list.Items {
					names = append(names, copyName(&list.Items[index])...)
				}
			case *corev1.SecretList:
				for index := range list.Items {
					names = append(names, copyName(&list.Items[index])...)
				}
			}
		}
		return names
	}
	// First the counterpart: while a pod is there, its copies are.
	stays := create(t, w.virtual, w.podWithBoth(t, "stays"))
	eventually(t, "the copies of a pod", func() error { return expect(len(left()) == 2, "there are %v", left()) })
	remove(t, w.virtual, stays)

	for round := range 40 {
		pod := create(t, w.virtual, w.podWithBoth(t, fmt.Sprintf("late-%d", round)))
		remove(t, w.virtual, pod)
	}
	eventually(t, "no copy is left", func() error {
		if !w.engine.Idle() {
			return errors.New("the engine is at work")
		}
		return expect(len(left()) == 0, "left are %v", left())
	})
}

// copyName is the name of a host object if it is a copy of a tenant's.
func copyName(hostObject client.Object) []string {
	if hostObject.GetAnnotations()[mapping.AnnotationTenantUID] == "" {
		return nil
	}
	return []string{fmt.Sprintf("%T %s", hostObject, hostObject.GetName())}
}

// podWithBoth is a pod that refers to a ConfigMap and a Secret of its name, which it makes.
func (w *world) podWithBoth(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	create(t, w.virtual, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: name}})
	create(t, w.virtual, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: name}})
	pod := newWebPod(name)
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}},
		{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}},
	}
	return pod
}
