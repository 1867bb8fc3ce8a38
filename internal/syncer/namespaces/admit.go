package namespaces

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostusage"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// admit refuses a further mapped namespace to a tenant that has as many as it may have. The host is asked, since this is
// called on every replica, whether it serves the tenant or not.
func (e *Ensurer) admit(ctx context.Context, tenant tenants.Tenant, name string) error {
	most := e.options.MaxNamespaces
	if most == 0 {
		return nil
	}
	mapped := &metav1.PartialObjectMetadataList{}
	mapped.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	ours := client.MatchingLabels{mapping.LabelUID: string(tenant.UID), mapping.LabelKind: mapping.KindMapped}
	if err := e.hostClient.List(ctx, mapped, ours); err != nil {
		return fmt.Errorf("count the mapped namespaces: %w", err)
	}
	for index := range mapped.Items {
		if mapped.Items[index].Name == name {
			return nil
		}
	}
	if len(mapped.Items) >= most {
		return &hostusage.ExceededError{What: "namespaces", Limit: int64(most)}
	}
	return nil
}
