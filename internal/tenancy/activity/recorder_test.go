package activity_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/activity"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// TestRecorder writes as the agent, with its rights and policies.
func TestRecorder(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	h.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo"}})
	vc := &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "hello"}}
	h.Create(t, vc)
	object := activity.Object{
		Kind: func() client.Object { return &clusterv1alpha1.VirtualCluster{} }, Key: client.ObjectKeyFromObject(vc), UID: vc.UID,
	}
	begin := time.Now().Truncate(time.Second)
	clock := clocktesting.NewFakeClock(begin)
	recorder := activity.New(h.As(t, tenancytest.AgentUser), slog.New(slog.DiscardHandler), clock)
	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan error, 1)
	go func() { finished <- recorder.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-finished; err != nil {
			t.Error(err)
		}
	})
	says := func(annotation string, want time.Time) {
		t.Helper()
		h.Eventually(t, annotation+" is "+want.String(), func() error {
			var current clusterv1alpha1.VirtualCluster
			if err := h.Admin.Get(t.Context(), object.Key, &current); err != nil {
				return err
			}
			got, err := time.Parse(time.RFC3339, current.Annotations[annotation])
			if err != nil || !got.Equal(want) {
				return fmt.Errorf("it is %q", current.Annotations[annotation])
			}
			return nil
		})
	}
	// The first sign is written at once, the next after a quarter of the time of idleness, though nothing happens any more.
	recorder.Active(object, time.Minute)
	says(tenancyv1alpha1.AnnotationActivity, begin)
	clock.Step(10 * time.Second)
	recorder.Active(object, time.Minute)
	h.Eventually(t, "it waits", func() error {
		if !clock.HasWaiters() {
			return errors.New("it does not")
		}
		return nil
	})
	says(tenancyv1alpha1.AnnotationActivity, begin)
	clock.Step(5 * time.Second)
	says(tenancyv1alpha1.AnnotationActivity, begin.Add(10*time.Second))

	if err := recorder.Wake(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	says(tenancyv1alpha1.AnnotationWake, begin.Add(15*time.Second))

	// One that has taken the name is not meant.
	clock.Step(time.Hour)
	namesake := object
	namesake.UID = "another"
	if err := recorder.Wake(t.Context(), namesake); err != nil {
		t.Errorf("one that is gone: %v", err)
	}
	says(tenancyv1alpha1.AnnotationWake, begin.Add(15*time.Second))
}
