package metricsdoor_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistration "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"
	"k8s.io/utils/clock"

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/dooridentity"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/metricsdoor"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

var (
	tenantA = tenants.Tenant{ID: "aaaaaaaa", UID: "11111111-2222-3333-4444-555555555555", Namespace: "demo", Name: "a"}
	tenantB = tenants.Tenant{ID: "bbbbbbbb", UID: "66666666-7777-8888-9999-000000000000", Namespace: "demo", Name: "b"}
)

// pair is a host and a control plane of a virtual cluster, both real, with the door between them. There is no sync.
type pair struct {
	hostConfig, virtualConfig *rest.Config
	host, virtual             kubernetes.Interface
	virtualMetrics            metricsclient.Interface
	door                      *metricsdoor.Door
}

const agentUser = "agent"

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{hostConfig: testenv.StartHost(t)}
	p.host = kubernetes.NewForConfigOrDie(p.hostConfig)
	agentConfig := rest.CopyConfig(p.hostConfig)
	agentConfig.Impersonate.UserName = agentUser
	var err error
	if p.door, err = metricsdoor.New(agentConfig, slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
		t.Fatal(err)
	}
	authority, err := pki.NewAuthority("doors", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	registry := tenants.NewRegistry()
	registry.Set(tenantA)
	registry.Set(tenantB)
	address := p.serve(t, registry, authority)
	p.virtualConfig = testenv.StartTenant(t, testenv.WithConfig(func(c *config.ControlPlane) {
		c.UID = string(tenantA.UID)
		c.Doors = &config.Doors{KubeletAddress: address, ServiceAddress: address, ServerName: "door"}
		writeIdentity(t, c.PKIDirectory, authority, tenantA.UID)
	}))
	p.virtual = kubernetes.NewForConfigOrDie(p.virtualConfig)
	p.virtualMetrics = metricsclient.NewForConfigOrDie(p.virtualConfig)
	return p
}

func writeIdentity(t *testing.T, directory string, authority *pki.Authority, uid types.UID) {
	t.Helper()
	identity, err := authority.Issue(pki.DoorClientLeaf(uid), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		config.DoorCA: authority.CertificatePEM(), config.DoorCert: identity.CertPEM, config.DoorKey: identity.KeyPEM,
	} {
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *pair) serve(t *testing.T, registry *tenants.Registry, authority *pki.Authority) string {
	t.Helper()
	door := addressdoor.New(addressdoor.Options{
		Host: p.host, Tenants: registry, Metrics: p.door.Answer, Log: slog.New(slog.DiscardHandler),
		TenantService:   func(context.Context, tenants.Tenant, string, string) (types.UID, error) { return "", nil },
		EnsureNamespace: func(context.Context, tenants.Tenant, string) error { return nil },
		ForgetNamespace: func(string) {},
	})
	serving := pki.NewDoorServing(authority, []string{"door"}, clock.RealClock{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	outer := dooridentity.ServerConfig(serving.Certificate, func() (*x509.CertPool, error) { return authority.Pool(), nil })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- door.Serve(ctx, listener, outer) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// mapNamespace makes what the agent makes: the mapped namespace, and in it the right that the chart's role gives.
func (p *pair) mapNamespace(t *testing.T, tenant tenants.Tenant, namespace string) {
	t.Helper()
	hostNamespace := mapping.HostNamespace(tenant.ID, namespace)
	createNamespace(t, p.host, hostNamespace)
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: agentUser},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"metrics.k8s.io"}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: agentUser},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: agentUser},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: agentUser}},
	}
	_, roleErr := p.host.RbacV1().Roles(hostNamespace).Create(t.Context(), role, metav1.CreateOptions{})
	_, bindingErr := p.host.RbacV1().RoleBindings(hostNamespace).Create(t.Context(), binding, metav1.CreateOptions{})
	if err := errors.Join(roleErr, bindingErr); err != nil {
		t.Fatal(err)
	}
}

func createNamespace(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// hostCopy is the label set of a copy that the agent has made.
func hostCopy(tenant tenants.Tenant, namespace string) map[string]string {
	return map[string]string{
		mapping.LabelID: tenant.ID, mapping.LabelUID: string(tenant.UID), mapping.LabelTenantNamespace: namespace,
	}
}

// runPod makes a pod that runs on a node.
func runPod(t *testing.T, client kubernetes.Interface, namespace, name, node string, labels map[string]string) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "main", Image: "main"}}},
	}
	eventually(t, func(ctx context.Context) error {
		made, err := client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			return err // its ServiceAccount comes a moment after the namespace
		}
		made.Status.Phase = corev1.PodRunning
		_, err = client.CoreV1().Pods(namespace).UpdateStatus(ctx, made, metav1.UpdateOptions{})
		return err
	})
}

func eventually(t *testing.T, ask func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 90*time.Second, true, func(ctx context.Context) (bool, error) {
		last = ask(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%v (%v)", err, last)
	}
}

// metricsServer stands for the host's: an aggregated API that measures a quarter of a core and 64 MiB for every pod.
type metricsServer struct {
	host kubernetes.Interface

	mu sync.Mutex
	// asked are the paths of lists.
	asked []string
}

// start registers the server with the host's aggregator, as every metrics server is.
func (p *pair) startMetricsServer(t *testing.T) *metricsServer {
	t.Helper()
	authority, err := pki.NewAuthority("metrics", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pki.NewDoorServing(authority, []string{"metrics.kube-system.svc"}, clock.RealClock{}).Certificate()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*certificate}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	m := &metricsServer{host: p.host}
	server := &http.Server{Handler: m}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-done })

	port := int32(listener.Addr().(*net.TCPAddr).Port)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "metrics"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "127.0.0.1"}}
	if _, err := p.host.CoreV1().Services("kube-system").Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	apiServices := apiregistration.NewForConfigOrDie(p.hostConfig).ApiregistrationV1().APIServices()
	_, err = apiServices.Create(t.Context(), &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1beta1.metrics.k8s.io"},
		Spec: apiregistrationv1.APIServiceSpec{
			Service:  &apiregistrationv1.ServiceReference{Namespace: "kube-system", Name: "metrics", Port: &port},
			CABundle: authority.CertificatePEM(),
			Group:    "metrics.k8s.io", Version: "v1beta1", GroupPriorityMinimum: 100, VersionPriority: 100,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ServeHTTP lists without a look at the selector, so that a test sees what the door itself keeps back.
func (m *metricsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	segments := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(segments) < 6 {
		_, _ = w.Write([]byte(`{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"metrics.k8s.io/v1beta1","resources":[]}`))
		return
	}
	m.mu.Lock()
	m.asked = append(m.asked, r.URL.Path)
	m.mu.Unlock()
	pods, err := m.host.CoreV1().Pods(segments[4]).List(r.Context(), metav1.ListOptions{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	list := metricsv1beta1.PodMetricsList{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		list.Items = append(list.Items, metricsv1beta1.PodMetrics{
			ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, Labels: pod.Labels},
			Timestamp:  metav1.Now(), Window: metav1.Duration{Duration: 15 * time.Second},
			Containers: []metricsv1beta1.ContainerMetrics{{Name: "main", Usage: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
			}}},
		})
	}
	_ = json.NewEncoder(w).Encode(list)
}

func (m *metricsServer) paths() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.asked, "\n")
}
