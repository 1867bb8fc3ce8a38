// Package tenancytest is a host cluster with the chart installed, for tests of what the agent does for accounts: real API
// servers, the agent's own rights and policies, and people who have the rights that it gives them.
//
// It is for tests only and is imported by no product code.
package tenancytest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"helm.sh/helm/v4/pkg/chart/common"
	chartutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	helmengine "helm.sh/helm/v4/pkg/engine"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/account"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/space"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster"
)

const (
	// SystemNamespace is where the chart is installed.
	SystemNamespace = "matryoshka-system"
	// AgentUser is the agent's user name.
	AgentUser = "system:serviceaccount:" + SystemNamespace + ":" + virtualcluster.AgentName
)

// Host is a host cluster with the chart installed, but for the Deployments: there is no node.
type Host struct {
	Config *rest.Config
	// Admin may do everything.
	Admin client.Client
	// Patience is how long Eventually waits, 90 seconds unless a test changes it.
	Patience time.Duration

	scheme *kruntime.Scheme
}

// NewHost starts an API server and installs the chart with these values beside its own. The policies are enforced when it returns.
func NewHost(t testing.TB, values map[string]any) *Host {
	t.Helper()
	scheme, err := virtualcluster.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	if err := tenancy.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	ctrl.SetLogger(logr.FromSlogHandler(slog.DiscardHandler))
	h := &Host{Config: testenv.StartHost(t), Patience: 90 * time.Second, scheme: scheme}
	// As a kubeconfig has it: the API server's own client speaks protobuf, which custom resources do not.
	h.Config.ContentConfig = rest.ContentConfig{}
	h.Config.QPS = -1
	if h.Admin, err = client.New(h.Config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	h.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: SystemNamespace}})
	for _, object := range RenderChart(t, values) {
		if object.GetKind() == "Deployment" {
			continue
		}
		if err := h.Admin.Create(t.Context(), object, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
			t.Fatalf("create %s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
	h.awaitPolicies(t)
	h.awaitRights(t)
	return h
}

// awaitRights waits until the agent has the rights that the chart gives it: those that are made last.
func (h *Host) awaitRights(t testing.TB) {
	t.Helper()
	for _, last := range []authorizationv1.ResourceAttributes{
		{Verb: "bind", Group: rbacv1.GroupName, Resource: "clusterroles", Name: "admin"},
		{Verb: "impersonate", Resource: "serviceaccounts", Namespace: SystemNamespace, Name: "matryoshka-space-templates"},
	} {
		h.Eventually(t, "the agent has its rights", func() error {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: AgentUser, ResourceAttributes: &last}}
			if err := h.Admin.Create(t.Context(), review); err != nil {
				return err
			}
			if !review.Status.Allowed {
				return fmt.Errorf("it may not %s %s %q", last.Verb, last.Resource, last.Name)
			}
			return nil
		})
	}
}

// RenderChart renders the chart as Helm would, without its CRDs.
func RenderChart(t testing.TB, values map[string]any) []*unstructured.Unstructured {
	t.Helper()
	files := render(t, values)
	var objects []*unstructured.Unstructured
	for _, name := range slices.Sorted(maps.Keys(files)) {
		decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(files[name]), 4096)
		for {
			var object unstructured.Unstructured
			if err := decoder.Decode(&object.Object); err != nil {
				break
			}
			if object.Object != nil {
				objects = append(objects, &object)
			}
		}
	}
	return objects
}

// RenderTemplate is the text of one template of the chart with its default values, such as "agent-policy.yaml".
func RenderTemplate(t testing.TB, name string) string {
	t.Helper()
	text, ok := render(t, nil)["matryoshka/templates/"+name]
	if !ok {
		t.Fatalf("the chart has no template %q", name)
	}
	return text
}

// render are the templates of the chart by their paths.
func render(t testing.TB, values map[string]any) map[string]string {
	t.Helper()
	_, self, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("cannot find the repository")
	}
	chart, err := loader.LoadDir(filepath.Join(filepath.Dir(self), "..", "..", "..", "charts", "matryoshka"))
	if err != nil {
		t.Fatal(err)
	}
	if values == nil {
		values = map[string]any{}
	}
	release := common.ReleaseOptions{Name: "matryoshka", Namespace: SystemNamespace, IsInstall: true}
	// The CRDs are there before.
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.APIVersions = append(capabilities.APIVersions, "tenancy.matryoshka.dev/v1alpha1/SpaceTemplate",
		"admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")
	complete, err := chartutil.ToRenderValues(chart, values, release, capabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := helmengine.Render(chart, complete)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// awaitPolicies waits until the host enforces all policies: what is made last is enforced last.
func (h *Host) awaitPolicies(t testing.TB) {
	t.Helper()
	marker := unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
		"metadata": map[string]any{"name": "marker"},
		"spec": map[string]any{
			"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
				"apiGroups": []any{""}, "apiVersions": []any{"*"}, "resources": []any{"configmaps"}, "operations": []any{"CREATE"},
			}}},
			"validations": []any{map[string]any{"expression": "object.metadata.name != 'marker'", "message": "enforced"}},
		},
	}}
	h.Create(t, &marker)
	h.Create(t, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
		"metadata": map[string]any{"name": "marker"},
		"spec":     map[string]any{"policyName": "marker", "validationActions": []any{"Deny"}},
	}})
	h.Eventually(t, "the policies are enforced", func() error {
		configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: SystemNamespace, Name: "marker"}}
		err := h.Admin.Create(t.Context(), configMap, client.DryRunAll)
		if err == nil {
			return errors.New("the request was allowed")
		}
		if !strings.Contains(err.Error(), "enforced") {
			return fmt.Errorf("not refused by the policy: %w", err)
		}
		return nil
	})
}

// Create creates an object as the host's admin.
func (h *Host) Create(t testing.TB, object client.Object) {
	t.Helper()
	if err := h.Admin.Create(t.Context(), object); err != nil {
		t.Fatalf("create %T %s: %v", object, object.GetName(), err)
	}
}

// As is a client of somebody who is logged in.
func (h *Host) As(t testing.TB, user string, groups ...string) client.Client {
	t.Helper()
	somebody, err := client.New(h.ConfigOf(user, groups...), client.Options{Scheme: h.scheme})
	if err != nil {
		t.Fatal(err)
	}
	return somebody
}

// ConfigOf reaches the host as somebody who is logged in.
func (h *Host) ConfigOf(user string, groups ...string) *rest.Config {
	config := rest.CopyConfig(h.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(slices.Clone(groups), "system:authenticated")}
	config.QPS = -1
	return config
}

// AgentConfig reaches the host as the agent.
func (h *Host) AgentConfig() *rest.Config {
	return h.ConfigOf(AgentUser, "system:serviceaccounts", "system:serviceaccounts:"+SystemNamespace)
}

// Parts are what one replica of the agent runs in a test.
type Parts struct {
	// Config reaches the host; nil means AgentConfig.
	Config *rest.Config
	// Shards are the replica's; nil means all of them.
	Shards shards.Shares
	// Space are options for the controller of spaces beside the ones that every replica has.
	BeforeNamespace []space.Step
	// InPlace brings namespaces of spaces into quotas; nil means that there are none.
	InPlace func(context.Context, *corev1.Namespace) error
	// More adds other parts.
	More func(ctrl.Manager, client.Client) error
}

// StartAgent runs the controllers of accounts and spaces, and what else is given, until the returned function or the end of the test.
func (h *Host) StartAgent(t testing.TB, parts Parts) (stop func()) {
	t.Helper()
	if parts.Config == nil {
		parts.Config = h.AgentConfig()
	}
	if parts.Shards == nil {
		parts.Shards = shards.All()
	}
	cacheOptions, err := virtualcluster.CacheOptions()
	if err != nil {
		t.Fatal(err)
	}
	if err := tenancy.AddToCache(&cacheOptions, SystemNamespace); err != nil {
		t.Fatal(err)
	}
	skipNames := true
	mgr, err := ctrl.NewManager(parts.Config, ctrl.Options{
		Scheme: h.scheme, Cache: cacheOptions, Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{SkipNameValidation: &skipNames},
		Logger:     logr.FromSlogHandler(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := setUp(mgr, parts); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-finished; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("run the agent: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func setUp(mgr ctrl.Manager, parts Parts) error {
	host, err := virtualcluster.NewHostClient(mgr)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	err = account.SetupWithManager(mgr, account.Options{SystemNamespace: SystemNamespace, Host: host, Shards: parts.Shards, Logger: log})
	if err != nil {
		return err
	}
	err = space.SetupWithManager(mgr, space.Options{
		SystemNamespace: SystemNamespace, Host: host, Shards: parts.Shards, Logger: log, BeforeNamespace: parts.BeforeNamespace,
		InPlace: parts.InPlace,
	})
	if err != nil || parts.More == nil {
		return err
	}
	return parts.More(mgr, host)
}

// Eventually waits until a check finds nothing to complain about.
func (h *Host) Eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, h.Patience, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: not so in %s: %v: %v", what, h.Patience, err, last)
	}
}

// IsGone is a check that an object is not there.
func (h *Host) IsGone(t testing.TB, object client.Object) func() error {
	return func() error {
		err := h.Admin.Get(t.Context(), client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return fmt.Errorf("%T %s is there", object, object.GetName())
	}
}
