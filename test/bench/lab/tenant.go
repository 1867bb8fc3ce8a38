package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// Namespace of the host in which the virtual clusters of a run are made.
const Namespace = "bench"

const usableTimeout = 2 * time.Minute

// Tenant is a virtual cluster.
type Tenant struct {
	Name, ID string
	// Client connects straight to the API server's pod, inside of the host's network.
	Client kubernetes.Interface
	// Times is how long it took to become usable.
	Times Times
	// outside connects through the front door.
	outside *rest.Config
}

// Times are from the call that creates a virtual cluster to what its owner waits for.
type Times struct {
	// Kubeconfig is seen by a watch of the Secret.
	Kubeconfig time.Duration
	// API is the first good answer of /readyz through the front door. Nothing can be watched before it.
	API time.Duration
	// Account is the default ServiceAccount, which pods need, seen by a watch in the tenant.
	Account time.Duration
}

// Usable is when the last of them was there.
func (t Times) Usable() time.Duration { return max(t.Kubeconfig, t.API, t.Account) }

// EnsureNamespace makes a namespace of the host, unless it exists.
func (h *Host) EnsureNamespace(ctx context.Context, name string) error {
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := h.Client.CoreV1().Namespaces().Create(ctx, object, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create the host's namespace %q: %w", name, err)
	}
	return nil
}

// Create makes a virtual cluster, as `matry create virtualcluster` does, and returns when it is usable.
func (h *Host) Create(ctx context.Context, name string, store clusterv1alpha1.StoreType) (*Tenant, error) {
	ctx, cancel := context.WithTimeout(ctx, usableTimeout)
	defer cancel()
	if err := h.EnsureNamespace(ctx, Namespace); err != nil {
		return nil, err
	}
	tenant := &Tenant{Name: name}
	source := Objects(h.Client, "secrets", &corev1.Secret{}, Namespace, name+"-kubeconfig")
	secret, err := Expect(ctx, fmt.Sprintf("the kubeconfig of %q", name), source, hasKubeconfig)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	vc := &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name}}
	vc.Spec.Store.Type = store
	if err := h.Objects.Create(ctx, vc); err != nil {
		secret.watching.Stop()
		return nil, fmt.Errorf("create virtual cluster %q: %w", name, err)
	}
	found, err := secret.Await(ctx)
	if err != nil {
		return nil, err
	}
	tenant.Times.Kubeconfig = time.Since(begin)
	config, err := clientcmd.RESTConfigFromKubeConfig(found.(*corev1.Secret).Data[kubeconfigKey])
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of %q: %w", name, err)
	}
	tenant.outside = config
	tenant.ID, _, _ = strings.Cut(config.ServerName, ".")
	outside, err := kubernetes.NewForConfig(unlimited(config))
	if err != nil {
		return nil, err
	}
	if err := answers(ctx, outside); err != nil {
		return nil, fmt.Errorf("wait for the API server of %q: %w", name, err)
	}
	tenant.Times.API = time.Since(begin)
	if err := AwaitAccount(ctx, outside, "default"); err != nil {
		return nil, fmt.Errorf("virtual cluster %q: %w", name, err)
	}
	tenant.Times.Account = time.Since(begin)
	tenant.Client, err = h.inside(ctx, config, tenant.ID)
	return tenant, err
}

// kubeconfigKey is the key in the Secret.
const kubeconfigKey = "config"

func hasKubeconfig(object runtime.Object) bool {
	secret, ok := object.(*corev1.Secret)
	return ok && len(secret.Data[kubeconfigKey]) > 0
}

// answers asks until the API server is ready: the one thing here for which there is no watch.
func answers(ctx context.Context, outside kubernetes.Interface) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := outside.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// AwaitAccount returns when a namespace has its default ServiceAccount, without which it takes no pods.
func AwaitAccount(ctx context.Context, side kubernetes.Interface, namespace string) error {
	what := fmt.Sprintf("the default ServiceAccount of namespace %q", namespace)
	source := Objects(side, "serviceaccounts", &corev1.ServiceAccount{}, namespace, "default")
	return Await(ctx, what, source, func(runtime.Object) bool { return true })
}

// inside is a client that connects to the pod of the control plane.
func (h *Host) inside(ctx context.Context, config *rest.Config, id string) (kubernetes.Interface, error) {
	pod, err := h.ControlPlane(ctx, id)
	if err != nil {
		return nil, err
	}
	const port = "6443"
	return kubernetes.NewForConfig(binary(direct(config, h.layout.NetworkNamespace(), net.JoinHostPort(pod.Status.PodIP, port))))
}

// ControlPlane is the pod of a virtual cluster's control plane.
func (h *Host) ControlPlane(ctx context.Context, id string) (*corev1.Pod, error) {
	pod, err := h.Client.CoreV1().Pods(mapping.ControlNamespace(id)).Get(ctx, "controlplane-0", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get the control plane of %s: %w", id, err)
	}
	return pod, nil
}

// Agent is the agent's pod.
func (h *Host) Agent(ctx context.Context) (*corev1.Pod, error) {
	const selector = "app.kubernetes.io/name=matryoshka-agent"
	pods, err := h.Client.CoreV1().Pods("matryoshka-system").List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("find the agent: %w", err)
	}
	if len(pods.Items) != 1 {
		return nil, fmt.Errorf("%d pods are agents, want one", len(pods.Items))
	}
	return &pods.Items[0], nil
}
