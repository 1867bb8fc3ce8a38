// Package metricsdoor tells a tenant's control plane what the tenant's pods use, from the host's metrics.k8s.io.
//
// It is asked on the connections of the address door, which knows the tenant from its certificate. It asks the host's API in
// the tenant's mapped namespaces only, one request each, with the rights that the agent has in these. What nodes use is for
// the control plane to add up from its own pods: what the host's nodes use altogether is never told. Invariants: nothing is
// answered but pods that carry the labels of this very tenant, whatever the host's metrics API makes of a selector; answers
// have the tenant's names and no labels; a host without a metrics API is a clear 503, at once; nothing is kept in memory.
package metricsdoor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"k8s.io/metrics/pkg/client/clientset/versioned/scheme"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/metricsdoor/usage"
	"github.com/matryoshka-dev/matryoshka/internal/tenantlimit"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// hostRequests is how many namespaces of one request are asked for at a time.
const hostRequests = 8

// allowance of one tenant, in namespaces: autoscalers ask for one every 15 seconds each, `kubectl top` for all at once.
var allowance = tenantlimit.Allowance{Rate: 40, Burst: 2 * usage.MaxNamespaces, Running: 2, Waiting: 64}

// Door answers for all tenants.
type Door struct {
	host   rest.Interface
	log    *slog.Logger
	limits *tenantlimit.Limits
}

// New makes a door that asks the host with the agent's own rights.
func New(hostConfig *rest.Config, log *slog.Logger) (*Door, error) {
	client, err := metricsclient.NewForConfig(hostConfig)
	if err != nil {
		return nil, fmt.Errorf("make a client of the host's metrics API: %w", err)
	}
	return &Door{host: client.RESTClient(), log: log, limits: tenantlimit.New(allowance)}, nil
}

// Answer answers one request of a tenant. The context bounds it. Its errors are API statuses that the tenant may read.
func (d *Door) Answer(ctx context.Context, tenant tenants.Tenant, body io.Reader) (*usage.Response, error) {
	namespaces, err := readRequest(body)
	if err != nil {
		return nil, err
	}
	release, ok := d.limits.Acquire(ctx, tenant.UID, len(namespaces))
	if !ok {
		return nil, apierrors.NewTooManyRequests("this virtual cluster asks for too many metrics at once", 1)
	}
	defer release()
	pods, err := d.podMetrics(ctx, tenant, namespaces)
	if err != nil {
		return nil, d.explain(tenant, err)
	}
	return &usage.Response{Pods: pods}, nil
}

func readRequest(body io.Reader) ([]string, error) {
	request := usage.Request{}
	if err := json.NewDecoder(body).Decode(&request); err != nil {
		return nil, apierrors.NewBadRequest("the request does not name namespaces in JSON")
	}
	slices.Sort(request.Namespaces)
	namespaces := slices.Compact(request.Namespaces)
	if len(namespaces) == 0 || len(namespaces) > usage.MaxNamespaces {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("a request names 1 to %d namespaces", usage.MaxNamespaces))
	}
	for _, namespace := range namespaces {
		if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("%q cannot be a namespace", namespace))
		}
	}
	return namespaces, nil
}

// podMetrics asks for each namespace. One that the agent may not read in has nothing of the tenant's: it is not there yet, or
// no longer. If all are like that, the agent lacks the right.
func (d *Door) podMetrics(ctx context.Context, tenant tenants.Tenant, namespaces []string) ([]metricsv1beta1.PodMetrics, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(hostRequests)
	found := make([][]metricsv1beta1.PodMetrics, len(namespaces))
	refused := make([]error, len(namespaces))
	for i, namespace := range namespaces {
		group.Go(func() (err error) {
			found[i], err = d.ofNamespace(ctx, tenant, namespace)
			if apierrors.IsForbidden(err) {
				refused[i], err = err, nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if !slices.Contains(refused, nil) {
		return nil, errors.Join(refused...)
	}
	return slices.Concat(found...), nil
}

func (d *Door) ofNamespace(ctx context.Context, tenant tenants.Tenant, namespace string) ([]metricsv1beta1.PodMetrics, error) {
	hostNamespace := mapping.HostNamespace(tenant.ID, namespace)
	own := labels.SelectorFromSet(labels.Set{
		mapping.LabelID: tenant.ID, mapping.LabelUID: string(tenant.UID), mapping.LabelTenantNamespace: namespace,
	})
	stream, err := d.host.Get().Namespace(hostNamespace).Resource("pods").SetHeader("Accept", "application/json").
		VersionedParams(&metav1.ListOptions{LabelSelector: own.String()}, scheme.ParameterCodec).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("list pod metrics in host namespace %q: %w", hostNamespace, err)
	}
	defer stream.Close()
	hostMetrics := metricsv1beta1.PodMetricsList{}
	if err := json.NewDecoder(io.LimitReader(stream, usage.MaxBytes)).Decode(&hostMetrics); err != nil {
		return nil, fmt.Errorf("read the pod metrics of host namespace %q (at most %d bytes): %w", hostNamespace, usage.MaxBytes, err)
	}
	return virtualMetrics(hostMetrics.Items, hostNamespace, namespace, own), nil
}

// virtualMetrics are those of the tenant's own pods, under the tenant's names. Whose a pod is, is looked at here too: not every
// metrics API has to know selectors. One that does not tell the labels of pods has nothing for tenants.
func virtualMetrics(hostMetrics []metricsv1beta1.PodMetrics, hostNamespace, namespace string, own labels.Selector) []metricsv1beta1.PodMetrics {
	var kept []metricsv1beta1.PodMetrics
	for _, hostPod := range hostMetrics {
		if hostPod.Namespace != hostNamespace || !own.Matches(labels.Set(hostPod.Labels)) {
			continue
		}
		kept = append(kept, metricsv1beta1.PodMetrics{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: mapping.TenantName("Pod", hostPod.Name)},
			Timestamp:  hostPod.Timestamp, Window: hostPod.Window, Containers: hostPod.Containers,
		})
	}
	return kept
}

// explain turns an error into what the tenant may read. What it leaves out goes into the agent's log.
func (d *Door) explain(tenant tenants.Tenant, err error) error {
	log := d.log.With("vcluster", tenant.UID)
	switch {
	case apierrors.IsNotFound(err):
		log.Debug("The host has no metrics API", "error", err)
		return apierrors.NewServiceUnavailable(
			"the host cluster has no metrics API (metrics.k8s.io); ask its operator to install a metrics server")
	case apierrors.IsServiceUnavailable(err):
		log.Warn("The host's metrics API does not answer", "error", err)
		return apierrors.NewServiceUnavailable("the host cluster's metrics API does not answer; try again in a moment")
	case apierrors.IsForbidden(err):
		log.Warn("The agent may not read pod metrics in the namespaces of a virtual cluster", "error", err)
		return apierrors.NewServiceUnavailable(
			"the host cluster has no metrics of these namespaces yet; if this stays, its operator has to upgrade the rights of Matryoshka's agent")
	}
	log.Error("Pod metrics could not be read", "error", err)
	return apierrors.NewServiceUnavailable("the host cluster could not be asked for metrics; try again in a moment")
}
