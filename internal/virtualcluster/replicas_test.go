package virtualcluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
)

// startShared runs the controllers of one of several replicas, with its shards, as the chart lets it.
func (e *environment) startShared(t *testing.T, name string) (share *shards.Shards, stop func()) {
	t.Helper()
	leases, err := typedcoordinationv1.NewForConfig(e.agentConfig())
	if err != nil {
		t.Fatal(err)
	}
	share, err = shards.New(shards.Options{Client: leases.Leases(systemNamespace), Name: name, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	stopControllers := e.startReplica(t, share)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- share.Run(ctx) }()
	stop = func() {
		if ctx.Err() != nil {
			return
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("replica %s ended with: %v", name, err)
		}
		stopControllers()
	}
	t.Cleanup(stop)
	return share, stop
}

func holds(t *testing.T, share *shards.Shards, uid types.UID) bool {
	_, leave, ok := share.Enter(t.Context(), uid)
	if ok {
		leave()
	}
	return ok
}

// TestReplicas: a virtual cluster is looked after by one replica, whatever it was in the middle of when that one changes; and
// so is what is left of one that is gone.
func TestReplicas(t *testing.T) {
	env := newEnvironment(t)
	first, stopFirst := env.startShared(t, "matryoshka-agent-first")
	env.create(t, &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "hello"}})
	vc := env.withID(t, "hello")
	_, leave, ok := first.Enter(t.Context(), vc.UID) // what is being worked on stays where it is
	if !ok {
		t.Fatal("the only replica does not hold hello")
	}
	defer leave()
	second, stopSecond := env.startShared(t, "matryoshka-agent-second")
	env.eventually(t, "the second one holds something", func() error {
		if held := holds(t, first, vc.UID) != holds(t, second, vc.UID); !held {
			return fmt.Errorf("hello is held by both, or by none")
		}
		var table coordinationv1.Lease
		if err := env.admin.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: shards.TableName}, &table); err != nil {
			return err
		}
		if *table.Spec.LeaseTransitions < 3 {
			return fmt.Errorf("the table is %v", table.Annotations)
		}
		return nil
	})
	if holds(t, second, vc.UID) {
		t.Error("a replica that joins takes the only one that is served")
	}

	// The next one goes on with it.
	leave()
	stopFirst()
	env.startControlPlane(t, vc)
	env.eventually(t, "hello is ready", func() (err error) {
		if vc, err = env.get(t, "hello"); err == nil && vc.Status.KubeconfigSecret == "" {
			err = fmt.Errorf("status is %+v", vc.Status)
		}
		return err
	})
	key := client.ObjectKey{Namespace: mapping.ControlNamespace(vc.Status.ID), Name: "controlplane"}
	var set appsv1.StatefulSet
	env.eventually(t, "the StatefulSet is there", func() error { return env.admin.Get(t.Context(), key, &set) })
	if err := env.admin.Delete(t.Context(), &set); err != nil {
		t.Fatal(err)
	}
	env.eventually(t, "the StatefulSet comes back", func() error {
		var again appsv1.StatefulSet
		if err := env.admin.Get(t.Context(), key, &again); err != nil {
			return err
		}
		if again.UID == set.UID {
			return fmt.Errorf("it is still the one that was deleted")
		}
		return nil
	})

	// While nobody is there it is deleted by force, and something else of the kind by its owner.
	stopSecond()
	env.create(t, &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "later"}})
	vc, err := env.get(t, "hello")
	if err != nil {
		t.Fatal(err)
	}
	vc.Finalizers = nil
	if err := env.admin.Update(t.Context(), vc); err != nil {
		t.Fatal(err)
	}
	if err := env.admin.Delete(t.Context(), vc); err != nil {
		t.Fatal(err)
	}
	env.startShared(t, "matryoshka-agent-third")
	env.withID(t, "later")
	env.eventually(t, "the orphan is collected", func() error {
		var namespace corev1.Namespace
		err := env.admin.Get(t.Context(), client.ObjectKey{Name: key.Namespace}, &namespace)
		if apierrors.IsNotFound(err) || err == nil && !namespace.DeletionTimestamp.IsZero() {
			return nil
		}
		return fmt.Errorf("it is still there (%w)", err)
	})
}

// TestLeasesOfOthers: the right to write Leases in the agent's namespace is not one to write those of others there.
func TestLeasesOfOthers(t *testing.T) {
	env := newEnvironment(t)
	agent := env.agentClient(t)
	lease := func(name string) *coordinationv1.Lease {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: name}}
	}
	if err := agent.Create(t.Context(), lease("matryoshka-agent-x")); err != nil {
		t.Errorf("create its own: %v", err)
	}
	if err := agent.Delete(t.Context(), lease("matryoshka-agent-x")); err != nil {
		t.Errorf("delete its own: %v", err)
	}
	env.create(t, lease("somebody"))
	if err := agent.Create(t.Context(), lease("other")); !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
		t.Errorf("create another's: %v", err)
	}
	if err := agent.Delete(t.Context(), lease("somebody")); !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
		t.Errorf("delete another's: %v", err)
	}
	elsewhere := lease("matryoshka-agent-x")
	elsewhere.Namespace = "demo"
	if err := agent.Create(t.Context(), elsewhere); !apierrors.IsForbidden(err) {
		t.Errorf("create one elsewhere: %v", err)
	}
}
