package charts_test

import (
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	chartutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/fence"
)

// render returns what the chart makes of values, one document each.
func render(t *testing.T, values map[string]any) ([][]byte, error) {
	t.Helper()
	chart, err := loader.LoadDir("matryoshka")
	if err != nil {
		t.Fatal(err)
	}
	complete, err := chartutil.ToRenderValues(chart, values, common.ReleaseOptions{Name: "matryoshka", Namespace: "matryoshka-system", IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, complete)
	if err != nil {
		return nil, err
	}
	var documents [][]byte
	for _, content := range files {
		for document := range strings.SplitSeq(content, "\n---\n") {
			if strings.TrimSpace(document) != "" {
				documents = append(documents, []byte(document))
			}
		}
	}
	return documents, nil
}

// find decodes the object of a kind and a name, strictly.
func find(t *testing.T, documents [][]byte, kind, name string, into any) {
	t.Helper()
	for _, document := range documents {
		var head struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := utilyaml.Unmarshal(document, &head); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if head.Kind == kind && head.Metadata.Name == name {
			if err := yaml.UnmarshalStrict(document, into); err != nil {
				t.Fatalf("decode %s %s: %v", kind, name, err)
			}
			return
		}
	}
	t.Fatalf("the chart renders no %s %s", kind, name)
}

func TestClusterRoleIsNarrow(t *testing.T) {
	documents, err := render(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"matryoshka-agent", "matryoshka-dns"} {
		var role rbacv1.ClusterRole
		find(t, documents, "ClusterRole", name, &role)
		for _, rule := range role.Rules {
			for _, list := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs} {
				if slices.Contains(list, "*") {
					t.Errorf("%s has a wildcard: %+v", name, rule)
				}
			}
			for _, resource := range []string{"secrets", "pods/log", "pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token", "nodes/proxy"} {
				if slices.Contains(rule.Resources, resource) {
					t.Errorf("%s may use %s everywhere", name, resource)
				}
			}
			if slices.Contains(rule.Verbs, "bind") && len(rule.ResourceNames) == 0 {
				t.Errorf("%s may bind any role", name)
			}
			if slices.Contains(rule.Verbs, "escalate") || slices.Contains(rule.Verbs, "impersonate") {
				t.Errorf("%s may become somebody else: %+v", name, rule)
			}
		}
	}
}

func TestDeploymentsAreUnprivileged(t *testing.T) {
	documents, err := render(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"matryoshka-agent", "matryoshka-dns"} {
		var deployment appsv1.Deployment
		find(t, documents, "Deployment", name, &deployment)
		pod := deployment.Spec.Template.Spec
		security := pod.Containers[0].SecurityContext
		if !*pod.SecurityContext.RunAsNonRoot || !*security.ReadOnlyRootFilesystem || *security.AllowPrivilegeEscalation || len(security.Capabilities.Add) != 0 {
			t.Errorf("%s is not locked up: %+v %+v", name, pod.SecurityContext, security)
		}
	}
}

func TestDNSIsWhatTheFenceLetsThrough(t *testing.T) {
	documents, err := render(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	var deployment appsv1.Deployment
	find(t, documents, "Deployment", "matryoshka-dns", &deployment)
	if got := deployment.Spec.Template.Labels[fence.LabelDNS]; got != fence.LabelDNSValue {
		t.Errorf("the label %s of the DNS is %q; the pods of virtual clusters may talk to %q only", fence.LabelDNS, got, fence.LabelDNSValue)
	}
}

func TestReplicas(t *testing.T) {
	documents, err := render(t, map[string]any{"agent": map[string]any{"replicas": 2}})
	if err != nil {
		t.Fatal(err)
	}
	var several appsv1.Deployment
	find(t, documents, "Deployment", "matryoshka-agent", &several)
	container := several.Spec.Template.Spec.Containers[0]
	if !slices.Contains(container.Args, "--replica=$(POD_NAME)") || container.Env[0].Name != "POD_NAME" || container.Env[0].ValueFrom.FieldRef.FieldPath != "metadata.name" {
		t.Error("replicas have no names of their own")
	}
	if several.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		t.Error("replicas stop together")
	}
	if len(several.Spec.Template.Spec.TopologySpreadConstraints) != 1 {
		t.Error("replicas may be lost together with one node though there are others")
	}
}

func TestPublishedFrontDoorIsAlone(t *testing.T) {
	documents, err := render(t, map[string]any{"frontDoor": map[string]any{"service": map[string]any{"type": "NodePort", "nodePort": 30443}}})
	if err != nil {
		t.Fatal(err)
	}
	var published, inner corev1.Service
	find(t, documents, "Service", "matryoshka-front-door", &published)
	if len(published.Spec.Ports) != 1 || published.Spec.Ports[0].NodePort != 30443 {
		t.Errorf("published are %+v, want the front door alone", published.Spec.Ports)
	}
	find(t, documents, "Service", "matryoshka-agent", &inner)
	if inner.Spec.Type != corev1.ServiceTypeClusterIP {
		t.Errorf("the doors are published as %s", inner.Spec.Type)
	}
}

// TestMetricsAreForChosenNamespaces: the metrics port, which knows no callers, is closed unless somebody opens it; all other
// ports of the agent stay open, or its doors would be shut.
func TestMetricsAreForChosenNamespaces(t *testing.T) {
	for name, from := range map[string]map[string]any{"Nobody": nil, "Monitoring": {"kubernetes.io/metadata.name": "monitoring"}} {
		t.Run(name, func(t *testing.T) {
			documents, err := render(t, map[string]any{"metrics": map[string]any{"from": from}})
			if err != nil {
				t.Fatal(err)
			}
			var agent appsv1.Deployment
			find(t, documents, "Deployment", "matryoshka-agent", &agent)
			var policy networkingv1.NetworkPolicy
			find(t, documents, "NetworkPolicy", "matryoshka-agent", &policy)
			selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
			if err != nil || !selector.Matches(labels.Set(agent.Spec.Template.Labels)) {
				t.Fatalf("the policy does not select the agent: %v", err)
			}
			for _, port := range agent.Spec.Template.Spec.Containers[0].Ports {
				var open []networkingv1.NetworkPolicyPeer
				isOpen := false
				for _, rule := range policy.Spec.Ingress {
					if slices.ContainsFunc(rule.Ports, func(allowed networkingv1.NetworkPolicyPort) bool { return allowed.Port.StrVal == port.Name }) {
						isOpen, open = true, rule.From
					}
				}
				isMetrics := port.Name == "metrics"
				if isOpen == (isMetrics && from == nil) || len(open) > 0 != (isMetrics && from != nil) {
					t.Errorf("port %s: open %t, for %+v", port.Name, isOpen, open)
				}
				if isMetrics && from != nil && open[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] != "monitoring" {
					t.Errorf("the metrics are open for %+v", open)
				}
			}
			if _, isScraped := agent.Spec.Template.Annotations["prometheus.io/scrape"]; isScraped != (from != nil) {
				t.Errorf("annotations %v", agent.Spec.Template.Annotations)
			}
		})
	}
}

func TestIngressAnnotations(t *testing.T) {
	for want, values := range map[string]map[string]any{
		"": nil,
		"--ingress-annotations=a.test/one,b.test/two": {"ingress": map[string]any{"annotations": []any{"a.test/one", "b.test/two"}}},
	} {
		documents, err := render(t, values)
		if err != nil {
			t.Fatal(err)
		}
		var deployment appsv1.Deployment
		find(t, documents, "Deployment", "matryoshka-agent", &deployment)
		got := ""
		for _, arg := range deployment.Spec.Template.Spec.Containers[0].Args {
			if strings.HasPrefix(arg, "--ingress-annotations") {
				got = arg
			}
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestBadValues(t *testing.T) {
	cases := map[string]struct {
		values map[string]any
		want   string
	}{
		"UnknownKey":  {map[string]any{"frontdoor": map[string]any{}}, "frontdoor"},
		"NoHTTPS":     {map[string]any{"frontDoor": map[string]any{"address": "http://x"}}, "/frontDoor/address"},
		"NoReplicas":  {map[string]any{"agent": map[string]any{"replicas": 0}}, "/agent/replicas"},
		"Annotation":  {map[string]any{"ingress": map[string]any{"annotations": []any{"a.test/one,b.test/two"}}}, "/ingress/annotations"},
		"ServiceType": {map[string]any{"frontDoor": map[string]any{"service": map[string]any{"type": "Ingress"}}}, "/frontDoor/service/type"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := render(t, tc.values)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error that names %s", err, tc.want)
			}
		})
	}
}
