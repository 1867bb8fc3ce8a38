package agent

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor"
	"github.com/matryoshka-dev/matryoshka/internal/dooridentity"
	"github.com/matryoshka-dev/matryoshka/internal/doormetrics"
	"github.com/matryoshka-dev/matryoshka/internal/kubeletdoor"
	"github.com/matryoshka-dev/matryoshka/internal/metricsdoor"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// addDoors adds the two endpoints that control planes may call.
func (a *agent) addDoors(ctx context.Context) error {
	host, err := kubernetes.NewForConfig(a.config.Host)
	if err != nil {
		return fmt.Errorf("make the doors' client of the host: %w", err)
	}
	lifecycle := a.lifecycleOptions(nil, nil, nil)
	serving := pki.NewDoorServing(a.door, []string{lifecycle.DoorServerName()}, clock.RealClock{})
	outer := dooridentity.ServerConfig(serving.Certificate, func() (*x509.CertPool, error) { return a.door.Pool(), nil })

	counts, err := a.doorMetrics()
	if err != nil {
		return err
	}
	metrics, err := metricsdoor.New(a.config.Host, a.log.With("part", "metricsdoor"))
	if err != nil {
		return err
	}
	addresses := addressdoor.New(addressdoor.Options{
		Host:    host,
		Tenants: a.registry,
		EnsureNamespace: func(ctx context.Context, tenant tenants.Tenant, namespace string) error {
			_, err := a.namespaces.Ensure(ctx, tenant, namespace)
			return err
		},
		ForgetNamespace: a.namespaces.Forget,
		TenantService:   addressdoor.AskTenant,
		Metrics:         metrics.Answer,
		Explain:         a.quotas.Explain,
		Counts:          counts.Door(doormetrics.Address),
		MetricsCounts:   counts.Door(doormetrics.Metrics),
		Log:             a.log.With("part", "addressdoor"),
	})
	err = a.listen(ctx, "address door", a.config.AddressDoorListen, func(ctx context.Context, listener net.Listener) error {
		return addresses.Serve(ctx, listener, outer)
	})
	if err != nil {
		return err
	}

	kubelets, err := kubeletdoor.New(kubeletdoor.Options{
		HostConfig:  rest.CopyConfig(a.config.Host),
		Tenants:     a.registry,
		TLS:         outer,
		NodeAddress: nodeAddress(host),
		Metrics:     counts.Door(doormetrics.Kubelet),
		Log:         a.log.With("part", "kubeletdoor"),
	})
	if err != nil {
		return fmt.Errorf("make the kubelet door: %w", err)
	}
	return a.listen(ctx, "kubelet door", a.config.KubeletDoorListen, kubelets.Serve)
}

// nodeAddress looks a host node's InternalIP up. A node that the tenant is not given by its selector is none for it. The
// answer of the API server's own cache is good enough.
func nodeAddress(host kubernetes.Interface) func(context.Context, tenants.Tenant, string) (string, bool, error) {
	return func(ctx context.Context, tenant tenants.Tenant, name string) (string, bool, error) {
		node, err := host.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{ResourceVersion: "0"})
		if apierrors.IsNotFound(err) {
			return "", false, nil
		}
		if err != nil {
			return "", false, fmt.Errorf("get node %q: %w", name, err)
		}
		if !labels.SelectorFromSet(tenant.Spec.Nodes.Selector).Matches(labels.Set(node.Labels)) {
			return "", false, nil
		}
		for _, address := range node.Status.Addresses {
			if address.Type == corev1.NodeInternalIP {
				return address.Address, true, nil
			}
		}
		return "", false, nil
	}
}
