package addressdoor

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor/reservation"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// TestQuotaIsExplained: a tenant is told of the quota of its account in words that are meant for it, and of other refusals of the host
// nothing that the host says.
func TestQuotaIsExplained(t *testing.T) {
	door := &Door{Options: Options{Log: slog.New(slog.DiscardHandler), Explain: func(_ context.Context, hostNamespace, message string) (string, bool) {
		return "no room in " + hostNamespace, strings.Contains(message, "exceeded quota")
	}}}
	request := reservation.Request{Service: corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}}
	for refusal, want := range map[string]string{
		"exceeded quota: matryoshka-a, requested: services=1": "no room in vc-x7k2p3q4-shop",
		"policy of team host-ops":                             "ask its operator",
	} {
		got := door.explain(t.Context(), tenants.Tenant{ID: "x7k2p3q4"}, request, apierrors.NewForbidden(serviceResource, "web", errors.New(refusal)))
		if !apierrors.IsForbidden(got) || !strings.Contains(got.Error(), want) || strings.Contains(got.Error(), refusal) {
			t.Errorf("%s: %v", refusal, got)
		}
	}
}
