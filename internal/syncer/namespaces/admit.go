package namespaces

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostusage"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// fullFor is for how long it is remembered that a tenant has as many mapped namespaces as it may. One that wants thousands more
// would have the host list those that it has for each of them, again and again.
const fullFor = time.Second

// full are the mapped namespaces of a tenant that has as many as it may.
type full struct {
	names sets.Set[string]
	until time.Time
}

// admit refuses a further mapped namespace to a tenant that has as many as it may. The host is asked, since this is
// called on every replica, whether it serves the tenant or not.
func (e *Ensurer) admit(ctx context.Context, tenant tenants.Tenant, name string) error {
	most := e.options.MaxNamespaces
	if most == 0 {
		return nil
	}
	mapped, isFull := e.isFull(tenant.UID)
	if !isFull {
		var err error
		if mapped, err = e.mapped(ctx, tenant.UID); err != nil {
			return fmt.Errorf("count the mapped namespaces: %w", err)
		}
	}
	if len(mapped) < most || mapped.Has(name) {
		return nil
	}
	if !isFull {
		e.noteFull(tenant.UID, mapped)
	}
	return &hostusage.ExceededError{What: "namespaces", Limit: int64(most)}
}

// mapped are the names of a tenant's mapped namespaces, as the host has them now.
func (e *Ensurer) mapped(ctx context.Context, tenant types.UID) (sets.Set[string], error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := e.hostClient.List(ctx, list, client.MatchingLabels{mapping.LabelUID: string(tenant), mapping.LabelKind: mapping.KindMapped}); err != nil {
		return nil, err
	}
	names := sets.New[string]()
	for index := range list.Items {
		names.Insert(list.Items[index].Name)
	}
	return names, nil
}

func (e *Ensurer) isFull(tenant types.UID) (names sets.Set[string], ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	known, ok := e.full[tenant]
	return known.names, ok && time.Now().Before(known.until)
}

// noteFull also drops what was noted of others and counts no longer: tenants come and go.
func (e *Ensurer) noteFull(tenant types.UID, names sets.Set[string]) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(e.full, func(_ types.UID, known full) bool { return !now.Before(known.until) })
	e.full[tenant] = full{names: names, until: now.Add(fullFor)}
}
