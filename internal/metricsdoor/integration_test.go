package metricsdoor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

func TestMetrics(t *testing.T) {
	p := newPair(t)
	p.addObjects(t)

	t.Run("a host without metrics", func(t *testing.T) { withoutHostMetrics(t, p) })
	server := p.startMetricsServer(t)
	eventually(t, func(ctx context.Context) error {
		_, err := p.virtualMetrics.MetricsV1beta1().PodMetricses("web").List(ctx, metav1.ListOptions{})
		return err
	})
	t.Run("pods", func(t *testing.T) { podMetrics(t, p) })
	t.Run("the host is asked in mapped namespaces only", func(t *testing.T) {
		for path := range strings.Lines(server.paths()) {
			if !strings.Contains(path, "/namespaces/vc-aaaaaaaa-") {
				t.Errorf("asked for %s", path)
			}
		}
	})
	t.Run("nodes", func(t *testing.T) { nodeMetrics(t, p) })
	t.Run("another tenant at the door", func(t *testing.T) { anotherTenant(t, p) })
	t.Run("tables", func(t *testing.T) { tables(t, p) })
	t.Run("who may view a namespace may read its metrics", func(t *testing.T) { viewers(t, p) })
}

// addObjects makes what the sync would have: the tenant's pods on both sides. Beside them are pods that are not the tenant's.
func (p *pair) addObjects(t *testing.T) {
	t.Helper()
	for _, node := range []string{"node-1", "node-2"} {
		object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node, Labels: map[string]string{"zone": node}}}
		// On the host, too: pods on a node that it does not have are collected as garbage after a minute.
		for _, client := range []kubernetes.Interface{p.virtual, p.host} {
			if _, err := client.CoreV1().Nodes().Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, namespace := range []string{"web", "db"} {
		createNamespace(t, p.virtual, namespace)
		p.mapNamespace(t, tenantA, namespace)
		p.mapNamespace(t, tenantB, namespace)
	}
	both := func(namespace, name string, labels map[string]string) {
		runPod(t, p.virtual, namespace, name, "node-1", labels)
		runPod(t, p.host, mapping.HostNamespace(tenantA.ID, namespace), name, "node-1", hostCopy(tenantA, namespace))
	}
	both("web", "front-1", map[string]string{"app": "front"})
	both("web", "back-1", map[string]string{"app": "back"})
	both("db", "db-0", map[string]string{"app": "db"})
	// A namespace that is not on the host.
	createNamespace(t, p.virtual, "new")
	runPod(t, p.virtual, "new", "early", "node-1", nil)

	hostWeb := mapping.HostNamespace(tenantA.ID, "web")
	runPod(t, p.host, hostWeb, "unknown-to-the-tenant", "node-1", hostCopy(tenantA, "web"))
	runPod(t, p.virtual, "web", "debug", "node-1", nil)
	runPod(t, p.host, hostWeb, "debug", "node-1", map[string]string{"made-by": "operators"})
	runPod(t, p.virtual, "web", "stolen", "node-1", nil)
	runPod(t, p.host, hostWeb, "stolen", "node-1", hostCopy(tenantB, "web"))
	runPod(t, p.host, mapping.HostNamespace(tenantB.ID, "web"), "front-1", "node-1", hostCopy(tenantB, "web"))
}

func withoutHostMetrics(t *testing.T, p *pair) {
	start := time.Now()
	_, err := p.virtualMetrics.MetricsV1beta1().PodMetricses("web").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "install a metrics server") {
		t.Errorf("got %v", err)
	}
	groups, resources, err := p.virtual.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(groups, func(g *metav1.APIGroup) bool { return g.Name == "metrics.k8s.io" }) ||
		!slices.ContainsFunc(resources, func(r *metav1.APIResourceList) bool {
			return r.GroupVersion == "metrics.k8s.io/v1beta1" && len(r.APIResources) == 2
		}) {
		t.Error("discovery lacks metrics.k8s.io")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	text, err := p.virtual.Discovery().RESTClient().Get().AbsPath("/openapi/v3/apis/metrics.k8s.io/v1beta1").DoRaw(t.Context())
	if err != nil || !strings.Contains(string(text), "PodMetrics") {
		t.Errorf("OpenAPI: %.80s, %v", text, err)
	}
}

func podMetrics(t *testing.T, p *pair) {
	api := p.virtualMetrics.MetricsV1beta1()
	list := func(namespace string, options metav1.ListOptions) string {
		t.Helper()
		found, err := api.PodMetricses(namespace).List(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for i := range found.Items {
			names = append(names, found.Items[i].Namespace+"/"+found.Items[i].Name)
		}
		return strings.Join(names, " ")
	}
	for _, c := range []struct {
		what, namespace string
		options         metav1.ListOptions
		want            string
	}{
		{"one namespace", "web", metav1.ListOptions{}, "web/back-1 web/front-1"},
		{"all namespaces", "", metav1.ListOptions{}, "db/db-0 web/back-1 web/front-1"},
		{"a label", "", metav1.ListOptions{LabelSelector: "app in (front,db)"}, "db/db-0 web/front-1"},
		{"a name", "", metav1.ListOptions{FieldSelector: "metadata.name=back-1"}, "web/back-1"},
		{"a label of the host's", "", metav1.ListOptions{LabelSelector: mapping.LabelID}, ""},
		{"a namespace without pods", "default", metav1.ListOptions{}, ""},
		{"no namespace", "none", metav1.ListOptions{}, ""},
		{"a namespace of the host's", mapping.HostNamespace(tenantB.ID, "web"), metav1.ListOptions{}, ""},
	} {
		if got := list(c.namespace, c.options); got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
	one, err := api.PodMetricses("web").Get(t.Context(), "front-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if one.Labels["app"] != "front" || len(one.Labels) != 1 || one.Window.Duration != 15*time.Second || one.Timestamp.IsZero() ||
		len(one.Containers) != 1 || one.Containers[0].Name != "main" || one.Containers[0].Usage.Cpu().MilliValue() != 250 {
		t.Errorf("got %+v", one)
	}
	for _, name := range []string{"none", "unknown-to-the-tenant", "debug", "stolen"} {
		if _, err := api.PodMetricses("web").Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// nodeMetrics: node-1 has three pods of the tenant that are measured, and on the host four more.
func nodeMetrics(t *testing.T, p *pair) {
	nodes := p.virtualMetrics.MetricsV1beta1().NodeMetricses()
	all, err := nodes.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for i := range all.Items {
		used := all.Items[i].Usage
		got[all.Items[i].Name] = fmt.Sprintf("%dm %dMi", used.Cpu().MilliValue(), used.Memory().Value()>>20)
	}
	if len(got) != 2 || got["node-1"] != "750m 192Mi" || got["node-2"] != "0m 0Mi" {
		t.Errorf("got %v", got)
	}
	if some, err := nodes.List(t.Context(), metav1.ListOptions{LabelSelector: "zone=node-2"}); err != nil || len(some.Items) != 1 {
		t.Errorf("by label: %v, %v", some, err)
	}
	if one, err := nodes.Get(t.Context(), "node-1", metav1.GetOptions{}); err != nil || one.Usage.Cpu().MilliValue() != 750 {
		t.Errorf("one node: %v, %v", one, err)
	}
	if _, err := nodes.Get(t.Context(), "none", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("no node: %v", err)
	}
}

// anotherTenant asks the door itself, as a tenant that has replaced its control plane could.
func anotherTenant(t *testing.T, p *pair) {
	response, err := p.door.Answer(t.Context(), tenantB, strings.NewReader(`{"namespaces":["web","db"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(response.Pods) != 1 || response.Pods[0].Namespace != "web" || response.Pods[0].Name != "front-1" {
		t.Errorf("got %+v", response.Pods)
	}
	for _, namespace := range []string{"kube-system", "vc-aaaaaaaa-web", "vcp-aaaaaaaa"} {
		if response, err := p.door.Answer(t.Context(), tenantB, strings.NewReader(`{"namespaces":["`+namespace+`"]}`)); err == nil {
			t.Errorf("%s: got %+v", namespace, response)
		}
	}
}

// tables is how kubectl get asks.
func tables(t *testing.T, p *pair) {
	for path, want := range map[string]string{
		"/apis/metrics.k8s.io/v1beta1/namespaces/web/pods/front-1": "[front-1 250m 64Mi 15s]",
		"/apis/metrics.k8s.io/v1beta1/namespaces/db/pods":          "[db-0 250m 64Mi 15s]",
		"/apis/metrics.k8s.io/v1beta1/nodes/node-1":                "[node-1 750m 192Mi 15s]",
		"/apis/metrics.k8s.io/v1beta1/nodes?labelSelector=zone":    "[node-1 750m 192Mi 15s]",
	} {
		text, err := p.virtual.Discovery().RESTClient().Get().RequestURI(path).
			SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").DoRaw(t.Context())
		table := metav1.Table{}
		if err == nil {
			err = json.Unmarshal(text, &table)
		}
		if err != nil || len(table.Rows) == 0 || fmt.Sprint(table.Rows[0].Cells) != want {
			t.Errorf("%s: %s, %v", path, text, err)
		}
	}
}

func viewers(t *testing.T, p *pair) {
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "viewer"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "viewer"}},
	}
	if _, err := p.virtual.RbacV1().RoleBindings("web").Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(p.virtualConfig)
	config.Impersonate.UserName = "viewer"
	api := metricsclient.NewForConfigOrDie(config).MetricsV1beta1()
	eventually(t, func(ctx context.Context) error {
		_, err := api.PodMetricses("web").List(ctx, metav1.ListOptions{})
		return err
	})
	if _, err := api.PodMetricses("db").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("another namespace: %v", err)
	}
	if _, err := api.NodeMetricses().List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("nodes: %v", err)
	}
	if _, err := kubernetes.NewForConfigOrDie(config).CoreV1().Pods("web").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("the viewer's pods: %v", err)
	}
}
