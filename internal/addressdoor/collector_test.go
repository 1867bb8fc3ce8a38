package addressdoor

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

func TestCollect(t *testing.T) {
	now := time.Unix(10_000, 0)
	named := func(name string, tenant tenants.Tenant, until time.Time) *corev1.Service {
		asked := service(corev1.ServiceTypeClusterIP, func(s *corev1.Service) { s.Name = name })
		return newReservation(tenant, asked, until)
	}
	taken := named("taken-over", tenantA, now)
	delete(taken.Annotations, mapping.AnnotationReservedUntil)
	moved := named("elsewhere", tenantA, now.Add(-time.Minute))
	moved.Namespace = "kube-system"
	hostServices := []*corev1.Service{
		named("unused", tenantA, now.Add(-time.Minute)),
		named("waiting", tenantA, now.Add(time.Minute)),
		named("stored", tenantA, now.Add(-time.Minute)),
		named("silent", tenantB, now.Add(-time.Minute)),
		named("leaving", leaving, now.Add(-time.Minute)),
		taken, moved,
	}
	host := fake.NewClientset()
	for _, s := range hostServices {
		if _, err := host.CoreV1().Services(s.Namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	registry := tenants.NewRegistry()
	for _, tenant := range []tenants.Tenant{tenantA, tenantB, leaving} {
		registry.Set(tenant)
	}
	collector := Collector{
		Host: host, Tenants: registry, Clock: clocktesting.NewFakeClock(now), Log: slog.New(slog.DiscardHandler),
		HostServices: func() ([]*corev1.Service, error) { return hostServices, nil },
		TenantService: func(_ context.Context, tenant tenants.Tenant, _, name string) (types.UID, error) {
			if tenant.ID == tenantB.ID {
				return "", errors.New("asleep")
			}
			if name == "stored" {
				return "virtual-uid", nil
			}
			return "", nil
		},
	}
	if err := collector.Collect(t.Context()); err == nil {
		t.Error("a tenant that does not answer was not told of")
	}
	left, err := host.CoreV1().Services("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, s := range left.Items {
		names[s.Name] = true
	}
	want := map[string]bool{"waiting": true, "stored": true, "silent": true, "leaving": true, "taken-over": true, "elsewhere": true}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
