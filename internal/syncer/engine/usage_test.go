package engine

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostusage"
)

// agreeable is a client whose every call succeeds and does nothing.
type agreeable struct{ client.Client }

func (agreeable) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return nil
}
func (agreeable) Create(context.Context, client.Object, ...client.CreateOption) error { return nil }
func (agreeable) Update(context.Context, client.Object, ...client.UpdateOption) error { return nil }
func (agreeable) Delete(context.Context, client.Object, ...client.DeleteOption) error { return nil }

// TestUnwatchedCopiesCount: what no watch shows counts when it is written, and only if it is the tenant's.
func TestUnwatchedCopiesCount(t *testing.T) {
	usage := hostusage.New(hostusage.Limits{Bytes: 1000})
	metered := meteredClient{Client: agreeable{}, usage: usage}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: "vc-x7k2p2q4-a", Name: "large",
		Labels:      map[string]string{mapping.LabelUID: "u-1", mapping.LabelTenantNamespace: "a"},
		Annotations: map[string]string{mapping.AnnotationTenantUID: "s-1"},
	}, Data: map[string][]byte{"content": make([]byte, 600)}}
	steps := []struct {
		name  string
		do    func() error
		count int
	}{
		{"create", func() error { return metered.Create(t.Context(), secret) }, 1},
		{"update", func() error { return metered.Update(t.Context(), secret) }, 1},
		{"get", func() error { return metered.Get(t.Context(), client.ObjectKeyFromObject(secret), secret) }, 1},
		{"pod", func() error {
			return metered.Create(t.Context(), &corev1.Pod{ObjectMeta: *secret.ObjectMeta.DeepCopy()})
		}, 1},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if objects, bytes := usage.Of("u-1"); objects != step.count || bytes < 600 || bytes > 1000 {
			t.Errorf("after %s: %d objects of %d bytes", step.name, objects, bytes)
		}
	}
	scope := testScope()
	scope.usage = usage
	second := secret.DeepCopy()
	second.Name = "second"
	if err := scope.Admit(second); err == nil {
		t.Error("two Secrets of more than the bound are admitted")
	}
	if err := metered.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if err := scope.Admit(second); err != nil {
		t.Errorf("after the first is gone: %v", err)
	}
	if err := metered.Create(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	usageHandler(usage).OnDelete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: second.Namespace, Labels: second.Labels}})
	if objects, _ := usage.Of("u-1"); objects != 0 {
		t.Errorf("%d objects are left of a namespace that is gone", objects)
	}
}
