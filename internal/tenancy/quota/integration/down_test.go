package integration

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
)

// TestAllAgentsDown: without any agent, what a namespace has of the quota can be used and no more, and nobody else notices.
func TestAllAgentsDown(t *testing.T) {
	h := newHost(t)
	one := h.startAgent(t, "agent-a", shards.All())
	h.installWebhook(t, "make-room", one)
	for _, name := range []string{"down-a", "down-b"} {
		h.addNamespace(t, name, "down", mapping.KindSpace)
	}
	h.addQuota(t, "down", "down", map[corev1.ResourceName]string{"pods": "12"})
	h.awaitReady(t, "down")
	part := &corev1.ResourceQuota{}
	room := func(namespace string) int64 {
		if err := h.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "matryoshka-down"}, part); err != nil {
			t.Fatal(err)
		}
		spec, used := part.Spec.Hard["pods"], part.Status.Used["pods"]
		return spec.Value() - used.Value()
	}
	eventually(t, "every namespace has some room, in its spec too", func() error {
		if a, b := room("down-a"), room("down-b"); a == 0 || b == 0 {
			return fmt.Errorf("room %d and %d", a, b)
		}
		return nil
	})
	one.stop()

	has := room("down-a")
	for index := range has {
		h.createInRoom(t, pod("down-a", fmt.Sprintf("pod-%d", index), ""))
	}
	if err := h.admin.Create(t.Context(), pod("down-a", "more", "")); !apierrors.IsForbidden(err) {
		t.Errorf("beyond the %d pods that the namespace has: %v", has, err)
	}
	if err := h.admin.Delete(t.Context(), pod("down-a", "pod-0", "")); err != nil {
		t.Fatal(err)
	}
	// The host counts from caches. When that of pods is ahead of that of ResourceQuotas, it takes an old count for right, and counts again
	// only with the next deletion.
	deleted, counted := int64(1), time.Now()
	eventually(t, "what is deleted can be made again", func() error {
		if time.Since(counted) > 5*time.Second && deleted < has {
			if err := h.admin.Delete(t.Context(), pod("down-a", fmt.Sprintf("pod-%d", deleted), "")); err != nil {
				return err
			}
			deleted, counted = deleted+1, time.Now()
		}
		return h.admin.Create(t.Context(), pod("down-a", "again", ""))
	})
	started := time.Now()
	h.create(t, pod("default", "of-others", ""))
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("a pod of somebody else took %s", took)
	}
	if err := h.sumAtMost(t, "down", 12); err != nil {
		t.Error(err)
	}

	again := h.startAgent(t, "agent-a", shards.All())
	h.installWebhook(t, "make-room-again", again)
	eventually(t, "with an agent there is room again", func() error { return h.admin.Create(t.Context(), pod("down-a", "more", "")) })
}
