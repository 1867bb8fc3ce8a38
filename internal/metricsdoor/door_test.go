package metricsdoor

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/metricsdoor/usage"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

var tenant = tenants.Tenant{ID: "aaaaaaaa", UID: "uid-a", Namespace: "demo", Name: "a"}

func hostMetrics(namespace, name string, change func(map[string]string)) metricsv1beta1.PodMetrics {
	own := map[string]string{mapping.LabelID: "aaaaaaaa", mapping.LabelUID: "uid-a", mapping.LabelTenantNamespace: "web", "app": "shop"}
	if change != nil {
		change(own)
	}
	return metricsv1beta1.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: own, Annotations: map[string]string{"host": "secret"}},
		Timestamp:  metav1.NewTime(time.Unix(1000, 0)), Window: metav1.Duration{Duration: 15 * time.Second},
		Containers: []metricsv1beta1.ContainerMetrics{{Name: "main", Usage: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m")}}},
	}
}

func TestVirtualMetrics(t *testing.T) {
	own := labels.SelectorFromSet(labels.Set{mapping.LabelID: "aaaaaaaa", mapping.LabelUID: "uid-a", mapping.LabelTenantNamespace: "web"})
	const hostNamespace = "vc-aaaaaaaa-web"
	got := virtualMetrics([]metricsv1beta1.PodMetrics{
		hostMetrics(hostNamespace, "shop-1", nil),
		hostMetrics("vc-bbbbbbbb-web", "in-another-namespace", nil),
		hostMetrics(hostNamespace, "without-labels", func(l map[string]string) { clear(l) }),
		hostMetrics(hostNamespace, "of-an-earlier-life", func(l map[string]string) { l[mapping.LabelUID] = "uid-before" }),
		hostMetrics(hostNamespace, "of-another-id", func(l map[string]string) { l[mapping.LabelID] = "bbbbbbbb" }),
		hostMetrics(hostNamespace, "of-another-tenant-namespace", func(l map[string]string) { l[mapping.LabelTenantNamespace] = "x" }),
	}, hostNamespace, "web", own)

	want := hostMetrics("web", "shop-1", nil)
	want.Labels, want.Annotations = nil, nil
	if diff := cmp.Diff([]metricsv1beta1.PodMetrics{want}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBadRequests(t *testing.T) {
	d := newDoor(t, http.NotFoundHandler())
	many := `{"namespaces":["`
	for i := range usage.MaxNamespaces + 1 {
		many += "n" + strconv.Itoa(i) + `","`
	}
	for name, body := range map[string]string{
		"no JSON":              `{`,
		"no namespace":         `{"namespaces":[]}`,
		"an empty name":        `{"namespaces":[""]}`,
		"a path":               `{"namespaces":["../kube-system"]}`,
		"a query":              `{"namespaces":["web?x=y"]}`,
		"of the host":          `{"namespaces":["VC-x"]}`,
		"too many namespaces":  many + `last"]}`,
		"one of them is wrong": `{"namespaces":["web","a/b"]}`,
	} {
		if _, err := d.Answer(t.Context(), tenant, strings.NewReader(body)); !apierrors.IsBadRequest(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHostErrors looks at what the tenant is told; each case is what a real API server answers.
func TestHostErrors(t *testing.T) {
	status := func(code int, reason metav1.StatusReason) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"` + string(reason) +
				`","message":"of vc-aaaaaaaa-web","code":` + strconv.Itoa(code) + `}`))
		})
	}
	for name, c := range map[string]struct {
		host http.Handler
		says string
	}{
		"no such API":     {http.NotFoundHandler(), "install a metrics server"},
		"it is down":      {status(503, metav1.StatusReasonServiceUnavailable), "does not answer"},
		"no right":        {status(403, metav1.StatusReasonForbidden), "rights of Matryoshka's agent"},
		"another failure": {status(500, metav1.StatusReasonInternalError), "try again"},
		"no JSON": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<html>"))
		}), "try again"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newDoor(t, c.host).Answer(t.Context(), tenant, strings.NewReader(`{"namespaces":["web"]}`))
			if !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "vc-aaaaaaaa") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func newDoor(t *testing.T, host http.Handler) *Door {
	t.Helper()
	server := httptest.NewServer(host)
	t.Cleanup(server.Close)
	d, err := New(&rest.Config{Host: server.URL}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}
