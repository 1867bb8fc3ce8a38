package bootstrap

import (
	"context"
	"fmt"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// ensureServiceRanges adds a ServiceCIDR for each range that the API server's own flag cannot hold.
func ensureServiceRanges(ctx context.Context, client kubernetes.Interface, ranges []string) error {
	for _, cidr := range ranges {
		object := &networkingv1.ServiceCIDR{
			ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-" + strings.NewReplacer(".", "-", "/", "-", ":", "-").Replace(cidr)},
			Spec:       networkingv1.ServiceCIDRSpec{CIDRs: []string{cidr}},
		}
		_, err := client.NetworkingV1().ServiceCIDRs().Create(ctx, object, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create service range %q: %w", cidr, err)
		}
	}
	return nil
}
