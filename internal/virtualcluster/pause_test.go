package virtualcluster

import (
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// pausedAt returns a reconciler over a host on which a virtual cluster was made and then paused, and its clock.
func pausedAt(t *testing.T, vc *clusterv1alpha1.VirtualCluster) (*Reconciler, *clocktesting.FakePassiveClock) {
	t.Helper()
	scheme, err := NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	clock := clocktesting.NewFakePassiveClock(start)
	door, err := pki.NewAuthority("doors", start)
	if err != nil {
		t.Fatal(err)
	}
	vc.Spec.Paused = true
	service := renderService(vc)
	service.Spec.ClusterIPs = []string{"10.96.0.17"}
	host := fake.NewClientBuilder().WithScheme(scheme).WithObjects(vc, service).WithStatusSubresource(vc).Build()
	options := *testOptions
	options.Clock, options.Door, options.Registry = clock, door, tenants.NewRegistry()
	r := &Reconciler{options: &options, log: slog.New(slog.DiscardHandler), host: host, cached: host, memory: newMemory(), connections: newConnections(&options)}
	tenant, _, err := r.ensurePKI(t.Context(), vc, testSurroundings)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ensureKubeconfig(t.Context(), vc, tenant); err != nil {
		t.Fatal(err)
	}
	return r, clock
}

// A control plane that is paused for a weekend still reaches the doors on Monday.
func TestPausedKeepsItsCertificates(t *testing.T) {
	vc := testVirtualCluster(clusterv1alpha1.StoreSQLite)
	r, clock := pausedAt(t, vc)
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(vc)}
	for clock.Now().Before(start.Add(72 * time.Hour)) {
		result, err := r.Reconcile(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if result.RequeueAfter <= 0 || result.RequeueAfter > 24*time.Hour {
			t.Fatalf("it is looked at again after %s", result.RequeueAfter)
		}
		if left := doorCertificate(t, r, vc).NotAfter.Sub(clock.Now()); left < time.Hour {
			t.Fatalf("after %s the certificate for the doors is good for %s", clock.Since(start), left)
		}
		clock.SetTime(clock.Now().Add(result.RequeueAfter))
	}
	var sets appsv1.StatefulSetList
	if err := r.host.List(t.Context(), &sets); err != nil || len(sets.Items) != 0 {
		t.Errorf("a paused virtual cluster was changed: %d StatefulSets, %v", len(sets.Items), err)
	}
}

func TestPausedMakesNoAuthorities(t *testing.T) {
	vc := testVirtualCluster(clusterv1alpha1.StoreSQLite)
	r, _ := pausedAt(t, vc)
	secret := &corev1.Secret{ObjectMeta: controlMeta(vc, agentPKISecretName)}
	if err := r.host.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(vc)}); err != nil {
		t.Fatal(err)
	}
	if err := r.host.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err == nil {
		t.Error("the authorities were made anew while the control plane runs with the old ones")
	}
}

func doorCertificate(t *testing.T, r *Reconciler, vc *clusterv1alpha1.VirtualCluster) *x509.Certificate {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: controlMeta(vc, pkiSecretName)}
	if err := r.host.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(secret.Data[config.DoorCert])
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
