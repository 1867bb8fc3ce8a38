package virtualcluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/chart/common"
	chartutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	helmengine "helm.sh/helm/v4/pkg/engine"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster"
)

const (
	systemNamespace = "matryoshka-system"
	agentUser       = "system:serviceaccount:matryoshka-system:matryoshka-agent"
)

// environment is a host with the chart installed. The agent's controllers run on it as the agent's own user, so that
// its rights and the policies that confine it are tested with every step.
type environment struct {
	config   *rest.Config
	admin    client.Client
	registry *tenants.Registry
	// adjust alters what the agent is started with; nil is nothing.
	adjust func(*virtualcluster.Options)

	mu sync.Mutex
	// The following are protected by mu: the addresses of tenants' API servers by ClusterIP, and the paths that the host has deleted, or no more had, for
	// agents, in their order.
	controlPlanes map[string]string
	deletions     []string
}

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	scheme, err := virtualcluster.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	env := &environment{config: testenv.StartHost(t), controlPlanes: map[string]string{}}
	// As a kubeconfig has it: the API server's own client speaks protobuf, which custom resources do not.
	env.config.ContentConfig = rest.ContentConfig{}
	if env.admin, err = client.New(env.config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	env.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: systemNamespace}})
	env.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo"}})
	env.installChart(t)
	env.awaitPolicies(t)
	return env
}

// awaitPolicies waits until the host enforces both policies, which takes it a moment.
func (e *environment) awaitPolicies(t *testing.T) {
	t.Helper()
	e.create(t, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "for-a-moment"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: agentUser}},
	})
	forbidden := map[string]client.Client{"matryoshka-agent-confined": e.agentClient(t), "matryoshka-labels-reserved": e.admin}
	for policy, actor := range forbidden {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "attempt", Labels: map[string]string{mapping.LabelKind: "x"}}}
		e.eventually(t, policy+" is enforced", func() error {
			err := actor.Create(t.Context(), namespace.DeepCopy(), client.DryRunAll)
			if err == nil {
				return errors.New("the request was allowed")
			}
			if strings.Contains(err.Error(), policy) {
				return nil
			}
			return fmt.Errorf("not refused by the policy: %w", err)
		})
	}
	if err := e.admin.Delete(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "for-a-moment"}}); err != nil {
		t.Fatal(err)
	}
	agent := e.agentClient(t)
	e.eventually(t, "the agent has the right no more", func() error {
		if err := agent.List(t.Context(), &corev1.SecretList{}, client.InNamespace("kube-system")); !apierrors.IsForbidden(err) {
			return errors.Join(errors.New("it may still list Secrets"), err)
		}
		return nil
	})
}

func (e *environment) create(t *testing.T, object client.Object) {
	t.Helper()
	if err := e.admin.Create(t.Context(), object); err != nil {
		t.Fatalf("create %T %s: %v", object, object.GetName(), err)
	}
}

// installChart applies what the chart renders, but for the Deployments: there is no node to run them.
func (e *environment) installChart(t *testing.T) {
	t.Helper()
	chart, err := loader.LoadDir("../../charts/matryoshka")
	if err != nil {
		t.Fatal(err)
	}
	release := common.ReleaseOptions{Name: "matryoshka", Namespace: systemNamespace, IsInstall: true}
	values, err := chartutil.ToRenderValues(chart, map[string]any{}, release, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := helmengine.Render(chart, values)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(files[name]), 4096)
		for {
			var object unstructured.Unstructured
			if err := decoder.Decode(&object.Object); err != nil {
				break
			}
			if object.Object == nil || object.GetKind() == "Deployment" {
				continue
			}
			if err := e.admin.Create(t.Context(), &object, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
				t.Fatalf("%s: create %s %s: %v", name, object.GetKind(), object.GetName(), err)
			}
		}
	}
}

// removePolicies takes away what the chart does not install with admissionPolicies.enabled=false.
func (e *environment) removePolicies(t *testing.T) {
	t.Helper()
	if err := e.admin.DeleteAllOf(t.Context(), &admissionv1.ValidatingAdmissionPolicyBinding{}); err != nil {
		t.Fatal(err)
	}
}

// agentBinding is how the agent gives itself its rights in a namespace.
func agentBinding(namespace string, labels map[string]string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "matryoshka-agent", Labels: labels},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: virtualcluster.TenantRole},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: systemNamespace, Name: virtualcluster.AgentName}},
	}
}

// agentConfig reaches the host as the agent.
func (e *environment) agentConfig() *rest.Config {
	agent := rest.CopyConfig(e.config)
	agent.Impersonate = rest.ImpersonationConfig{
		UserName: agentUser,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + systemNamespace, "system:authenticated"},
	}
	agent.QPS = -1
	return agent
}

// startAgent runs the agent's controllers until the returned function or the end of the test.
func (e *environment) startAgent(t *testing.T) (stop func()) {
	t.Helper()
	return e.startReplica(t, shards.All())
}

// startReplica runs them for what is in its shards.
func (e *environment) startReplica(t *testing.T, shares shards.Shares) (stop func()) {
	t.Helper()
	agent := e.agentConfig()
	agent.Wrap(e.recordDeletions)
	scheme, err := virtualcluster.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	cacheOptions, err := virtualcluster.CacheOptions()
	if err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(agent, ctrl.Options{
		Scheme: scheme, Cache: cacheOptions, Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{SkipNameValidation: ptr.To(true)},
		Logger:     discardLogger,
	})
	if err != nil {
		t.Fatal(err)
	}
	host, err := virtualcluster.NewHostClient(mgr)
	if err != nil {
		t.Fatal(err)
	}
	door, err := virtualcluster.LoadDoorAuthority(t.Context(), host, systemNamespace, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e.registry = tenants.NewRegistry()
	options := virtualcluster.Options{
		SystemNamespace: systemNamespace, Image: "matryoshka.dev/matryd:test", FrontDoorAddress: "https://127.0.0.1:8443",
		DNSService: "matryoshka-dns", Door: door, Registry: e.registry, Dial: e.dial, Shards: shares,
		NetworkIsolation: func() (metav1.ConditionStatus, string, string) {
			return metav1.ConditionFalse, "NotEnforced", "of the test"
		},
	}
	if e.adjust != nil {
		e.adjust(&options)
	}
	err = virtualcluster.SetupWithManager(mgr, options, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan error, 1)
	go func() { finished <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-finished; err != nil {
			t.Errorf("run the agent: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

func (e *environment) recordDeletions(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		if err == nil && request.Method == http.MethodDelete && (response.StatusCode < http.StatusMultipleChoices || response.StatusCode == http.StatusNotFound) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.deletions = append(e.deletions, request.URL.Path)
		}
		return response, err
	})
}

// deletedIn are the resources of which agents have deleted something in a namespace, in that order; "" is the namespace itself.
func (e *environment) deletedIn(namespace string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var resources []string
	for _, path := range e.deletions {
		if _, within, ok := strings.Cut(path+"/", "/namespaces/"+namespace+"/"); ok {
			resource, _, _ := strings.Cut(within, "/")
			resources = append(resources, resource)
		}
	}
	return resources
}

// dial leads a ClusterIP of the host to the API server that the test has started for it.
func (e *environment) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	target, ok := e.controlPlanes[host]
	e.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("nothing listens at %s", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, target)
}

// startControlPlane does what the kubelet would: it runs the control plane with the files that the agent has made.
func (e *environment) startControlPlane(t *testing.T, vc *clusterv1alpha1.VirtualCluster) {
	t.Helper()
	namespace := mapping.ControlNamespace(vc.Status.ID)
	var file corev1.ConfigMap
	var files corev1.Secret
	e.eventually(t, "the control plane's files are there", func() error {
		if err := e.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "config"}, &file); err != nil {
			return err
		}
		return e.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "pki"}, &files)
	})
	made, err := config.Parse([]byte(file.Data["controlplane.yaml"]))
	if err != nil {
		t.Fatalf("the control plane would not read its configuration: %v", err)
	}
	if made.Doors == nil || !strings.HasSuffix(made.Doors.KubeletAddress, ":8444") || !strings.HasSuffix(made.Doors.ServiceAddress, ":8445") {
		t.Errorf("got the doors %+v, want the agent's Service", made.Doors)
	}
	directory := t.TempDir()
	for name, content := range files.Data {
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tenant := testenv.StartTenant(t, testenv.WithConfig(func(c *config.ControlPlane) {
		address := c.Port
		*c = *made
		c.Port, c.BindAddress, c.PKIDirectory = address, "127.0.0.1", directory
		c.Store = config.Store{Type: config.StoreMemory}
		c.Doors = nil // nobody would answer
	}))
	target, err := url.Parse(tenant.Host)
	if err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	e.controlPlanes[made.ServiceAddress] = target.Host
	e.mu.Unlock()
}

func (e *environment) eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 90*time.Second, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: not so in 30 s: %v: %v", what, err, last)
	}
}

// get reads a VirtualCluster.
func (e *environment) get(t *testing.T, name string) (*clusterv1alpha1.VirtualCluster, error) {
	var vc clusterv1alpha1.VirtualCluster
	err := e.admin.Get(t.Context(), client.ObjectKey{Namespace: "demo", Name: name}, &vc)
	return &vc, err
}

// withID waits until a VirtualCluster has its ID.
func (e *environment) withID(t *testing.T, name string) *clusterv1alpha1.VirtualCluster {
	t.Helper()
	var vc *clusterv1alpha1.VirtualCluster
	e.eventually(t, name+" has an ID", func() (err error) {
		if vc, err = e.get(t, name); err == nil && vc.Status.ID == "" {
			err = fmt.Errorf("status is %+v", vc.Status)
		}
		return err
	})
	return vc
}

// inventory names everything that a virtual cluster may leave behind.
func (e *environment) inventory(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, list := range []client.ObjectList{
		&corev1.NamespaceList{}, &corev1.SecretList{}, &corev1.ConfigMapList{}, &corev1.ServiceList{}, &corev1.PodList{},
		&corev1.PersistentVolumeClaimList{}, &rbacv1.RoleBindingList{},
	} {
		if err := e.admin.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		raw, err := toUnstructured(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range raw.Items {
			names = append(names, fmt.Sprintf("%T %s/%s", list, item.GetNamespace(), item.GetName()))
		}
	}
	slices.Sort(names)
	return names
}
