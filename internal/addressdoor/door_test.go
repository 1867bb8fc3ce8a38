package addressdoor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor/reservation"
	"github.com/matryoshka-dev/matryoshka/internal/dooridentity"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/metricsdoor/usage"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostpace"
	"github.com/matryoshka-dev/matryoshka/internal/tenantlimit"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

var (
	tenantA = tenants.Tenant{ID: "aaaaaaaa", UID: "uid-a", Namespace: "demo", Name: "a"}
	tenantB = tenants.Tenant{ID: "bbbbbbbb", UID: "uid-b", Namespace: "demo", Name: "b"}
	leaving = tenants.Tenant{ID: "cccccccc", UID: "uid-c", Namespace: "demo", Name: "c", Terminating: true}
)

const hostNamespaceA = "vc-aaaaaaaa-default"

// fixture is a door before a fake of the host's API. What an API server itself does (allocation, validation, conflicts)
// is tested against a real one.
type fixture struct {
	door *Door
	host *fake.Clientset
	// ensured are the namespaces that the door asked for.
	ensured []string
	// forgotten are the host namespaces that the door found missing.
	forgotten []string
	// virtual are the Services of tenant A by namespace/name.
	virtual map[string]types.UID
}

func newFixture(t *testing.T, hostServices ...runtime.Object) *fixture {
	t.Helper()
	f := &fixture{host: fake.NewClientset(hostServices...), virtual: map[string]types.UID{}}
	registry := tenants.NewRegistry()
	for _, tenant := range []tenants.Tenant{tenantA, tenantB, leaving} {
		registry.Set(tenant)
	}
	f.door = New(Options{
		Host:    f.host,
		Tenants: registry,
		EnsureNamespace: func(_ context.Context, tenant tenants.Tenant, namespace string) error {
			f.ensured = append(f.ensured, tenant.ID+"/"+namespace)
			return nil
		},
		ForgetNamespace: func(hostNamespace string) { f.forgotten = append(f.forgotten, hostNamespace) },
		TenantService:   f.tenantService,
		Clock:           clocktesting.NewFakePassiveClock(time.Unix(10_000, 0)),
		Log:             slog.New(slog.DiscardHandler),
	})
	return f
}

func (f *fixture) tenantService(_ context.Context, _ tenants.Tenant, namespace, name string) (types.UID, error) {
	return f.virtual[namespace+"/"+name], nil
}

func (f *fixture) post(uid types.UID, body []byte) *httptest.ResponseRecorder {
	return f.postTo(reservation.Path, uid, body)
}

func (f *fixture) postTo(path string, uid types.UID, body []byte) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	certificate := &x509.Certificate{URIs: []*url.URL{dooridentity.URI(uid)}}
	request.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{certificate}}}
	recorder := httptest.NewRecorder()
	f.door.ServeHTTP(recorder, request)
	return recorder
}

func (f *fixture) ask(t *testing.T, uid types.UID, request reservation.Request) (int, reservation.Response, metav1.Status) {
	t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	recorder := f.post(uid, body)
	response, failure := reservation.Response{}, metav1.Status{}
	var into any = &response
	if recorder.Code != http.StatusOK {
		into = &failure
	}
	if err := json.Unmarshal(recorder.Body.Bytes(), into); err != nil {
		t.Fatalf("%d %q: %v", recorder.Code, recorder.Body, err)
	}
	return recorder.Code, response, failure
}

func (f *fixture) writes() int {
	count := 0
	for _, action := range f.host.Actions() {
		if action.GetVerb() != "get" && action.GetVerb() != "list" {
			count++
		}
	}
	return count
}

func TestWhoMayAsk(t *testing.T) {
	f := newFixture(t)
	for _, uid := range []types.UID{"unknown", leaving.UID} {
		code, _, failure := f.ask(t, uid, reservation.Request{Service: *service(corev1.ServiceTypeClusterIP, nil)})
		if code != http.StatusForbidden || failure.Reason != metav1.StatusReasonForbidden {
			t.Errorf("%s got %d %v", uid, code, failure)
		}
	}
	request := httptest.NewRequest(http.MethodPost, reservation.Path, strings.NewReader("{}"))
	recorder := httptest.NewRecorder()
	f.door.ServeHTTP(recorder, request)
	if recorder.Code != http.StatusForbidden {
		t.Errorf("without a certificate: %d", recorder.Code)
	}
	if len(f.host.Actions()) != 0 || len(f.ensured) != 0 {
		t.Errorf("the host was asked: %v %v", f.host.Actions(), f.ensured)
	}
}

func TestReserveMakesNamespaceFirst(t *testing.T) {
	f := newFixture(t)
	code, _, failure := f.ask(t, tenantA.UID, reservation.Request{Service: *service(corev1.ServiceTypeClusterIP, nil)})
	if code != http.StatusOK {
		t.Fatalf("%d %v", code, failure)
	}
	if len(f.ensured) != 1 || f.ensured[0] != "aaaaaaaa/default" {
		t.Errorf("ensured %v", f.ensured)
	}
	hostService, err := f.host.CoreV1().Services(hostNamespaceA).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if until, ok := reservedUntil(hostService); !ok || !until.Equal(time.Unix(10_000, 0).Add(reservationTime)) {
		t.Errorf("reserved until %v %v", until, ok)
	}
}

// The namespace was there when it was last looked at, and another replica of the agent has deleted it since.
func TestNamespaceIsGone(t *testing.T) {
	f := newFixture(t)
	misses := 1
	f.host.PrependReactor("create", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
		if misses == 0 {
			return false, nil, nil
		}
		misses--
		return true, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, hostNamespaceA)
	})
	code, _, failure := f.ask(t, tenantA.UID, reservation.Request{Service: *service(corev1.ServiceTypeClusterIP, nil)})
	if code != http.StatusOK {
		t.Fatalf("%d %v", code, failure)
	}
	if diff := cmp.Diff([]string{hostNamespaceA}, f.forgotten); diff != "" {
		t.Errorf("forgotten namespaces (-want +got):\n%s", diff)
	}
	if len(f.ensured) != 2 {
		t.Errorf("the namespace was asked for %d times, want 2", len(f.ensured))
	}
}

func TestNamespaceIsBeingDeleted(t *testing.T) {
	f := newFixture(t)
	f.host.PrependReactor("create", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
		err := apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, "web", errors.New("being terminated"))
		err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
		return true, nil, err
	})
	code, _, failure := f.ask(t, tenantA.UID, reservation.Request{Service: *service(corev1.ServiceTypeClusterIP, nil)})
	if code != http.StatusServiceUnavailable || !strings.Contains(failure.Message, `still deleting the namespace "default"`) {
		t.Errorf("got %d %q, want to be told to try again", code, failure.Message)
	}
	if len(f.forgotten) != 1 {
		t.Errorf("forgotten namespaces are %v", f.forgotten)
	}
}

func TestNothingToReserve(t *testing.T) {
	f := newFixture(t)
	headless := service(corev1.ServiceTypeClusterIP, func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone })
	for _, s := range []*corev1.Service{headless, service(corev1.ServiceTypeExternalName, nil)} {
		code, response, failure := f.ask(t, tenantA.UID, reservation.Request{Service: *s})
		if code != http.StatusOK || response.Spec.ClusterIP != s.Spec.ClusterIP {
			t.Errorf("%s: %d %+v %v", s.Spec.Type, code, response, failure)
		}
	}
	if len(f.host.Actions()) != 0 {
		t.Errorf("the host was asked: %v", f.host.Actions())
	}
}

func TestForeignHostService(t *testing.T) {
	own := newReservation(tenantA, service(corev1.ServiceTypeClusterIP, nil), time.Unix(20_000, 0))
	cases := map[string]func(*corev1.Service){
		"without labels":     func(s *corev1.Service) { s.Labels = nil },
		"of another tenant":  func(s *corev1.Service) { s.Labels[mapping.LabelID] = tenantB.ID },
		"of an earlier life": func(s *corev1.Service) { s.Labels[mapping.LabelUID] = "uid-before" },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			hostService := own.DeepCopy()
			change(hostService)
			f := newFixture(t, hostService)
			code, _, failure := f.ask(t, tenantA.UID, reservation.Request{Service: *service(corev1.ServiceTypeNodePort, nil)})
			if code != http.StatusConflict || failure.Reason != metav1.StatusReasonConflict || !strings.Contains(failure.Message, "web") {
				t.Errorf("%d %+v", code, failure)
			}
			after, err := f.host.CoreV1().Services(hostNamespaceA).Get(t.Context(), "web", metav1.GetOptions{})
			if err != nil || after.Spec.Type != hostService.Spec.Type {
				t.Errorf("the foreign Service was touched: %v %v", after, err)
			}
		})
	}
}

func TestSameNameAgain(t *testing.T) {
	copyOf := func(uid string) *corev1.Service {
		s := newReservation(tenantA, service(corev1.ServiceTypeClusterIP, nil), time.Unix(20_000, 0))
		s.UID, s.ResourceVersion = "host-uid", "7"
		s.Spec.ClusterIP, s.Spec.ClusterIPs = "10.96.0.5", []string{"10.96.0.5"}
		s.Annotations = map[string]string{mapping.AnnotationTenantUID: uid}
		return s
	}
	t.Run("the tenant still has it", func(t *testing.T) {
		f := newFixture(t, copyOf("virtual-1"))
		f.virtual["default/web"] = "virtual-1"
		code, _, failure := f.ask(t, tenantA.UID, reservation.Request{Service: *service(corev1.ServiceTypeClusterIP, nil)})
		if code != http.StatusConflict || failure.Reason != metav1.StatusReasonAlreadyExists {
			t.Errorf("%d %v", code, failure)
		}
		if _, err := f.host.CoreV1().Services(hostNamespaceA).Get(t.Context(), "web", metav1.GetOptions{}); err != nil {
			t.Error("creating a name that exists destroyed the copy in use:", err)
		}
	})
	t.Run("the tenant has deleted it", func(t *testing.T) {
		f := newFixture(t, copyOf("virtual-1"))
		code, _, failure := f.ask(t, tenantA.UID, reservation.Request{Service: *service(corev1.ServiceTypeClusterIP, nil)})
		if code != http.StatusOK {
			t.Fatalf("%d %v", code, failure)
		}
		after, err := f.host.CoreV1().Services(hostNamespaceA).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if after.UID == "host-uid" {
			t.Error("the copy of the earlier Service was given to its successor; the sync is about to delete it")
		}
	})
	t.Run("it is still being deleted", func(t *testing.T) {
		old := copyOf("virtual-1")
		old.DeletionTimestamp, old.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"x/y"}
		f := newFixture(t, old)
		code, _, failure := f.ask(t, tenantA.UID, reservation.Request{Service: *service(corev1.ServiceTypeClusterIP, nil)})
		if code != http.StatusServiceUnavailable || failure.Details.RetryAfterSeconds == 0 {
			t.Errorf("%d %+v", code, failure)
		}
	})
	t.Run("an update of a copy in place writes nothing", func(t *testing.T) {
		f := newFixture(t, copyOf("virtual-1"))
		f.virtual["default/web"] = "virtual-1"
		asked := service(corev1.ServiceTypeClusterIP, func(s *corev1.Service) { s.UID = "virtual-1" })
		code, response, failure := f.ask(t, tenantA.UID, reservation.Request{Service: *asked})
		if code != http.StatusOK || response.Spec.ClusterIP != "10.96.0.5" || f.writes() != 0 {
			t.Errorf("%d %+v %v, %d writes", code, response, failure, f.writes())
		}
	})
}

func TestBadRequests(t *testing.T) {
	cases := map[string]struct {
		change func(*corev1.Service)
		want   int
	}{
		"namespace with a path":      {func(s *corev1.Service) { s.Namespace = "../kube-system" }, http.StatusUnprocessableEntity},
		"no namespace":               {func(s *corev1.Service) { s.Namespace = "" }, http.StatusUnprocessableEntity},
		"no name":                    {func(s *corev1.Service) { s.Name = "" }, http.StatusUnprocessableEntity},
		"name of the host's own":     {func(s *corev1.Service) { s.Name = "matryoshka-x" }, http.StatusUnprocessableEntity},
		"the control plane's own":    {func(s *corev1.Service) { s.Name = "kubernetes" }, http.StatusUnprocessableEntity},
		"more than the door accepts": {func(s *corev1.Service) { s.Annotations["x"] = strings.Repeat("x", reservation.MaxBytes) }, http.StatusRequestEntityTooLarge},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			code, _, failure := f.ask(t, tenantA.UID, reservation.Request{Service: *service(corev1.ServiceTypeClusterIP, tc.change)})
			if code != tc.want {
				t.Errorf("%d %+v", code, failure)
			}
			if len(f.host.Actions()) != 0 {
				t.Errorf("the host was asked: %v", f.host.Actions())
			}
		})
	}
	f := newFixture(t)
	if recorder := f.post(tenantA.UID, []byte("{")); recorder.Code != http.StatusBadRequest {
		t.Errorf("half a request: %d", recorder.Code)
	}
}

func TestHostErrors(t *testing.T) {
	services := schema.GroupResource{Resource: "services"}
	allocated := field.Invalid(field.NewPath("spec", "clusterIPs").Index(0), []string{"10.96.0.5"},
		"failed to allocate IP 10.96.0.5 for "+hostNamespaceA+"/web: provided IP is already allocated")
	cases := map[string]struct {
		err    error
		code   int
		says   string
		hushed string
	}{
		"address taken": {
			err:  apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "web", field.ErrorList{allocated}),
			code: http.StatusUnprocessableEntity, says: "default/web: provided IP is already allocated", hushed: hostNamespaceA,
		},
		"policy": {
			err:  apierrors.NewForbidden(services, "web", errors.New("User system:serviceaccount:matryoshka-system:agent cannot")),
			code: http.StatusForbidden, says: "quota or policy", hushed: "serviceaccount",
		},
		"busy":     {err: apierrors.NewTooManyRequests("host apiserver is busy", 1), code: http.StatusServiceUnavailable, says: "try again", hushed: "apiserver"},
		"paced":    {err: fmt.Errorf("ensure the namespace: %w", &hostpace.BusyError{}), code: http.StatusServiceUnavailable, says: "the host cluster is busy", hushed: "API server"},
		"network":  {err: fmt.Errorf("dial tcp 10.0.0.1:443: refused"), code: http.StatusServiceUnavailable, says: "try again", hushed: "10.0.0.1"},
		"anything": {err: apierrors.NewInternalError(errors.New("etcd at 10.0.0.2")), code: http.StatusInternalServerError, says: "agent's log", hushed: "10.0.0.2"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.host.PrependReactor("create", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, tc.err
			})
			code, _, failure := f.ask(t, tenantA.UID, reservation.Request{Service: *service(corev1.ServiceTypeClusterIP, nil)})
			if code != tc.code || !strings.Contains(failure.Message, tc.says) {
				t.Errorf("%d %q", code, failure.Message)
			}
			text, err := json.Marshal(failure)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), tc.hushed) {
				t.Errorf("%q reaches the tenant: %s", tc.hushed, text)
			}
		})
	}
}

func TestTooManyAtOnce(t *testing.T) {
	f := newFixture(t)
	f.door.limits = tenantlimit.New(tenantlimit.Allowance{})
	code, _, failure := f.ask(t, tenantA.UID, reservation.Request{Service: *service(corev1.ServiceTypeClusterIP, nil)})
	if code != http.StatusTooManyRequests || failure.Details.RetryAfterSeconds == 0 {
		t.Errorf("%d %+v", code, failure)
	}
}

// What is asked of the metrics door comes with the tenant that the certificate names, and its errors go out as they are.
func TestMetricsAreAskedInTheNameOfTheTenant(t *testing.T) {
	f := newFixture(t)
	var asked []string
	f.door.Metrics = func(_ context.Context, tenant tenants.Tenant, body io.Reader) (*usage.Response, error) {
		text, err := io.ReadAll(body)
		asked = append(asked, tenant.ID+" "+string(text))
		if err != nil {
			return nil, apierrors.NewRequestEntityTooLargeError("too large")
		}
		return &usage.Response{}, nil
	}
	for _, c := range []struct {
		uid  types.UID
		body string
		want int
	}{
		{tenantA.UID, "question", http.StatusOK},
		{leaving.UID, "question", http.StatusForbidden},
		{"unknown", "question", http.StatusForbidden},
		{tenantB.UID, strings.Repeat("x", usage.MaxRequestBytes+1), http.StatusRequestEntityTooLarge},
	} {
		if recorder := f.postTo(usage.Path, c.uid, []byte(c.body)); recorder.Code != c.want {
			t.Errorf("%s got %d, want %d", c.uid, recorder.Code, c.want)
		}
	}
	if len(asked) != 2 || asked[0] != "aaaaaaaa question" || !strings.HasPrefix(asked[1], "bbbbbbbb ") {
		t.Errorf("asked: %.80q", asked)
	}
	f.door.Metrics = nil
	if recorder := f.postTo(usage.Path, tenantA.UID, []byte("question")); recorder.Code != http.StatusNotFound {
		t.Errorf("without metrics: %d", recorder.Code)
	}
}
