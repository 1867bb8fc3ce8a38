package bootstrap

import (
	"context"
	"errors"
	"fmt"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/controlplane/controller/defaultservicecidr"
)

// EnsureServiceRanges makes the default ServiceCIDR, and retries until it is there or the context ends. An existing one
// stays as it is, because its ranges are immutable.
func EnsureServiceRanges(ctx context.Context, client kubernetes.Interface, ranges []string) error {
	object := &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: defaultservicecidr.DefaultServiceCIDRName},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: ranges},
	}
	var last error
	err := wait.PollUntilContextCancel(ctx, retryInterval, true, func(ctx context.Context) (bool, error) {
		_, last = client.NetworkingV1().ServiceCIDRs().Create(ctx, object, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(last) {
			last = nil
		}
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("create the service range: %w", errors.Join(err, last))
	}
	return nil
}
