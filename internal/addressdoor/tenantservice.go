package addressdoor

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// tenantTimeout bounds the question to a tenant's API server, which may be slow or gone.
const tenantTimeout = 4 * time.Second

// AskTenant is the TenantService that asks the tenant's API server.
func AskTenant(ctx context.Context, tenant tenants.Tenant, namespace, name string) (types.UID, error) {
	if tenant.VirtualConfig == nil {
		return "", fmt.Errorf("get the tenant's Service %s/%s: its API server is not known yet", namespace, name)
	}
	ctx, cancel := context.WithTimeout(ctx, tenantTimeout)
	defer cancel()
	// The connection behind it is shared by all clients of the same configuration.
	virtualClient, err := kubernetes.NewForConfig(rest.CopyConfig(tenant.VirtualConfig))
	if err != nil {
		return "", fmt.Errorf("make a client for the tenant's API server: %w", err)
	}
	virtualService, err := virtualClient.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		// Not wrapped: a tenant's API server must not be able to choose the answer that the door gives.
		return "", fmt.Errorf("get the tenant's Service %s/%s: %s", namespace, name, err.Error())
	}
	return virtualService.UID, nil
}
