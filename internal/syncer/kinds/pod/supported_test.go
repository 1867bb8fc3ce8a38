package pod

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// TestEveryVolumeTypeIsDecided sets each field of a union alone: what is not known to be harmless is refused by its name.
func TestEveryVolumeTypeIsDecided(t *testing.T) {
	allowed := []string{"configMap", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"}
	eachField(t, corev1.VolumeSource{}, func(field string, source reflect.Value) {
		volume, _ := source.Interface().(corev1.VolumeSource)
		pod := &corev1.Pod{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "data", VolumeSource: volume}}}}
		isAllowed(t, field, allowed, checkSupported(pod, clusterv1alpha1.PodSecurityBaseline))
		if err := checkSupported(pod, clusterv1alpha1.PodSecurityPrivileged); err != nil {
			t.Errorf("%s is refused at level privileged: %v", field, err)
		}
	})
}

func TestEveryProjectionIsDecided(t *testing.T) {
	allowed := []string{"configMap", "downwardAPI", "secret", "serviceAccountToken"}
	eachField(t, corev1.VolumeProjection{}, func(field string, source reflect.Value) {
		projection, _ := source.Interface().(corev1.VolumeProjection)
		pod := &corev1.Pod{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{projection}},
		}}}}}
		for _, level := range []clusterv1alpha1.PodSecurityLevel{clusterv1alpha1.PodSecurityBaseline, clusterv1alpha1.PodSecurityPrivileged} {
			isAllowed(t, field, allowed, checkSupported(pod, level))
		}
	})
}

// eachField calls visit with a union in which only the named field is set.
func eachField(t *testing.T, union any, visit func(field string, source reflect.Value)) {
	t.Helper()
	typ := reflect.TypeOf(union)
	for index := range typ.NumField() {
		value := reflect.New(typ).Elem()
		value.Field(index).Set(reflect.New(typ.Field(index).Type.Elem()))
		name, _, _ := strings.Cut(typ.Field(index).Tag.Get("json"), ",")
		visit(name, value)
	}
}

func isAllowed(t *testing.T, field string, allowed []string, err error) {
	t.Helper()
	var refusal *engine.Refusal
	for _, name := range allowed {
		if name == field {
			if err != nil {
				t.Errorf("%s is refused: %v", field, err)
			}
			return
		}
	}
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, field) {
		t.Errorf("%s is not refused by its name: %v", field, err)
	}
}
