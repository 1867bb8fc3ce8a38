package controlplane_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

func port80(change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func named(name string) func(*corev1.Service) { return func(s *corev1.Service) { s.Name = name } }

func nodePorts(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort }

// TestDoors runs one control plane with doors and checks what reaches them through the real API.
func TestDoors(t *testing.T) {
	pki, authorities := testenv.NewPKIWithAuthorities(t)
	doors, doorConfig := newFakeDoors(t, authorities)
	cp, client := start(t, config.ControlPlane{
		PKIDirectory: pki, Store: config.Store{Type: config.StoreMemory}, Doors: doorConfig, ServiceAddress: "203.0.113.5",
	})
	t.Cleanup(func() { stop(t, cp) })

	t.Run("default/kubernetes has the host's address without a reservation", func(t *testing.T) {
		eventually(t, "default/kubernetes", func() error {
			s, err := client.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
			if err == nil && s.Spec.ClusterIP != "203.0.113.5" {
				t.Fatalf("address %s", s.Spec.ClusterIP)
			}
			return err
		})
		if asked := doors.requests(); len(asked) != 0 {
			t.Errorf("asked for %v", asked)
		}
	})
	t.Run("namespace and Services at once, addresses from all of IPv4, low node ports", func(t *testing.T) {
		createNamespace(t, client, "web")
		for _, name := range []string{"a", "b", "c", "d"} {
			s, err := client.CoreV1().Services("web").Create(t.Context(), port80(named(name), nodePorts), metav1.CreateOptions{})
			if err != nil {
				t.Fatalf("create %s: %v", name, err)
			}
			kept := doors.given("web/" + name)
			if s.Spec.ClusterIP != kept.ClusterIP || s.Spec.Ports[0].NodePort != kept.Ports[0].NodePort {
				t.Errorf("%s has %+v, the host gave %+v", name, s.Spec, kept)
			}
		}
		low := port80(named("low"), nodePorts)
		low.Spec.Ports[0].NodePort = 80
		if _, err := client.CoreV1().Services("web").Create(t.Context(), low, metav1.CreateOptions{}); err != nil {
			t.Errorf("node port 80, which this host allows: %v", err)
		}
	})
	t.Run("generated names, dry run, replace, type changes", func(t *testing.T) { serviceLifecycle(t, client, doors) })
	t.Run("type changes in a row", func(t *testing.T) { typeChangesInARow(t, client) })
	t.Run("a refusal of the host is what the user sees", func(t *testing.T) {
		doors.refuse(apierrors.NewForbidden(corev1.Resource("services"), "refused", errors.New("no more node ports")))
		defer doors.refuse(nil)
		_, err := client.CoreV1().Services("web").Create(t.Context(), port80(named("refused")), metav1.CreateOptions{})
		if !apierrors.IsForbidden(err) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a client asks again by itself when the door does not answer", func(t *testing.T) {
		asked := len(doors.requests())
		doors.hangUp(2)
		s, err := client.CoreV1().Services("web").Create(t.Context(), port80(named("patient")), metav1.CreateOptions{})
		if err != nil || s.Spec.ClusterIP != doors.given("web/patient").ClusterIP {
			t.Errorf("addresses %v: %v", s.Spec.ClusterIPs, err)
		}
		if requests := len(doors.requests()) - asked; requests != 3 {
			t.Errorf("the door was asked %d times, want 3", requests)
		}
	})
	t.Run("what the connection says is not told", func(t *testing.T) {
		doors.hangUp(1)
		post := client.CoreV1().RESTClient().Post().Namespace("web").Resource("services").Body(port80(named("told"))).MaxRetries(0)
		const told = "reserve the Service's addresses: the host cluster did not answer; try again"
		if err := post.Do(t.Context()).Error(); !apierrors.IsServiceUnavailable(err) || err.Error() != told {
			t.Errorf("got %v, want %q", err, told)
		}
	})
	t.Run("a request that is denied later can be repeated", func(t *testing.T) { deniedLater(t, client, doors) })
	t.Run("logs come through the kubelet door", func(t *testing.T) { logs(t, client, doors) })
}

func createNamespace(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func serviceLifecycle(t *testing.T, client kubernetes.Interface, doors *fakeDoors) {
	services := client.CoreV1().Services("web")
	generated, err := services.Create(t.Context(), port80(func(s *corev1.Service) { s.Name, s.GenerateName = "", "gen-" }), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if doors.given("web/"+generated.Name).ClusterIP != generated.Spec.ClusterIP {
		t.Errorf("%s was not reserved by its name", generated.Name)
	}
	dry, err := services.Create(t.Context(), port80(named("dry")), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil || dry.Spec.ClusterIP == "" || doors.given("web/dry").ClusterIP != "" {
		t.Errorf("dry run: %v, %v", dry.Spec, err)
	}
	manifest := port80(named("kept"), nodePorts)
	created, err := services.Create(t.Context(), manifest, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	asked := len(doors.requests())
	replaced, err := services.Update(t.Context(), manifest, metav1.UpdateOptions{})
	if err != nil || replaced.Spec.ClusterIP != created.Spec.ClusterIP || replaced.Spec.Ports[0].NodePort != created.Spec.Ports[0].NodePort {
		t.Errorf("replace: %+v, %v", replaced.Spec, err)
	}
	if again := len(doors.requests()); again != asked {
		t.Errorf("replace asked the host")
	}
	typeChanges(t, client)
}

func typeChanges(t *testing.T, client kubernetes.Interface) {
	services := client.CoreV1().Services("web")
	patch := func(body string) *corev1.Service {
		t.Helper()
		s, err := services.Patch(t.Context(), "kept", types.MergePatchType, []byte(body), metav1.PatchOptions{})
		if err != nil {
			t.Fatalf("patch %s: %v", body, err)
		}
		return s
	}
	if s := patch(`{"spec":{"type":"ClusterIP","ports":[{"name":"http","port":80}]}}`); s.Spec.Ports[0].NodePort != 0 || s.Spec.ClusterIP == "" {
		t.Errorf("to ClusterIP: %+v", s.Spec)
	}
	if s := patch(`{"spec":{"type":"NodePort"}}`); s.Spec.Ports[0].NodePort == 0 {
		t.Errorf("to NodePort: %+v", s.Spec)
	}
	if s := patch(`{"spec":{"type":"ExternalName","externalName":"example.com","clusterIP":null,"clusterIPs":null}}`); s.Spec.ClusterIP != "" {
		t.Errorf("to ExternalName: %+v", s.Spec)
	}
	// The tenant's own allocator frees the address a moment after the Service was stored.
	eventually(t, "to LoadBalancer", func() error {
		s, err := services.Patch(t.Context(), "kept", types.MergePatchType,
			[]byte(`{"spec":{"type":"LoadBalancer","externalName":null,"externalTrafficPolicy":"Local"}}`), metav1.PatchOptions{})
		if err == nil && (s.Spec.ClusterIP == "" || s.Spec.Ports[0].NodePort == 0 || s.Spec.HealthCheckNodePort == 0) {
			t.Errorf("to LoadBalancer: %+v", s.Spec)
		}
		return err
	})
}

// typeChangesInARow updates Services right after they were written, when a watch cache still shows how they were before.
// Upstream keeps the ports of an attempt that began with an old copy, and the host's next answer names the same ones.
func typeChangesInARow(t *testing.T, client kubernetes.Interface) {
	services := client.CoreV1().Services("web")
	for round := range 40 {
		name := fmt.Sprintf("row-%d", round)
		if _, err := services.Create(t.Context(), port80(named(name)), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{
			`{"metadata":{"labels":{"round":"1"}}}`,
			`{"spec":{"type":"LoadBalancer","externalTrafficPolicy":"Local"}}`,
			`{"spec":{"type":"ClusterIP","externalTrafficPolicy":null,"ports":[{"name":"http","port":80}]}}`,
			`{"spec":{"type":"NodePort"}}`,
		} {
			if _, err := services.Patch(t.Context(), name, types.MergePatchType, []byte(body), metav1.PatchOptions{}); err != nil {
				t.Errorf("%s, %s: %v", name, body, err)
			}
		}
	}
}

// deniedLater lets a quota refuse a Service after its reservation.
func deniedLater(t *testing.T, client kubernetes.Interface, doors *fakeDoors) {
	fail := admissionregistrationv1.Fail
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "deny"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"services"}},
				},
			}}},
			Validations: []admissionregistrationv1.Validation{{Expression: "object.metadata.name != 'denied'"}},
		},
	}
	policies := client.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	if _, err := policies.Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "deny"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: "deny", ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}
	bindings := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	if _, err := bindings.Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	services := client.CoreV1().Services("web")
	isDenied := func(options metav1.CreateOptions) error {
		_, err := services.Create(t.Context(), port80(named("denied")), options)
		if err == nil || !strings.Contains(err.Error(), "denied request") {
			return errors.Join(errors.New("the policy is not in force yet"), err)
		}
		return nil
	}
	// Nothing must be made that is deleted again: in that moment upstream's repair of addresses can take the Service for one that has
	// lost its address, and then keeps that for a minute.
	eventually(t, "the policy", func() error { return isDenied(metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}) })
	if err := isDenied(metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the type check of the policy", func() error {
		checked, err := policies.Get(t.Context(), "deny", metav1.GetOptions{})
		if err == nil && (checked.Status.TypeChecking == nil || len(checked.Status.TypeChecking.ExpressionWarnings) > 0) {
			return fmt.Errorf("status is %+v", checked.Status)
		}
		return err
	})
	if err := bindings.Delete(t.Context(), "deny", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	reserved := doors.given("web/denied").ClusterIP
	eventually(t, "the repetition", func() error {
		s, err := services.Create(t.Context(), port80(named("denied")), metav1.CreateOptions{})
		if err == nil && s.Spec.ClusterIP != reserved {
			t.Errorf("got %s, reserved was %s", s.Spec.ClusterIP, reserved)
		}
		return err
	})
}

func logs(t *testing.T, client kubernetes.Interface, doors *fakeDoors) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1"}}
	created, err := client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	created.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeIP}}
	created.Status.DaemonEndpoints.KubeletEndpoint.Port = 10250
	if _, err := client.CoreV1().Nodes().UpdateStatus(t.Context(), created, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "shop-1"},
		Spec:       corev1.PodSpec{NodeName: "worker-1", Containers: []corev1.Container{{Name: "main", Image: "shop"}}},
	}
	eventually(t, "the pod", func() error {
		_, err := client.CoreV1().Pods("web").Create(t.Context(), pod, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	eventually(t, "the log", func() error {
		stream, err := client.CoreV1().Pods("web").GetLogs("shop-1", &corev1.PodLogOptions{}).Stream(t.Context())
		if err != nil {
			return err
		}
		defer stream.Close()
		text, err := io.ReadAll(io.LimitReader(stream, 1<<10))
		if err == nil && string(text) != "log of /containerLogs/web/shop-1/main" {
			t.Fatalf("log is %q", text)
		}
		return err
	})
	doors.mu.Lock()
	defer doors.mu.Unlock()
	if last := doors.connects[len(doors.connects)-1]; last != "CONNECT worker-1:10250" {
		t.Errorf("the tunnel was asked for by %q", last)
	}
}
