package integration

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

const webhookSleeps = 30 * time.Second

// sleeper is a webhook that answers after half a minute, and counts who asks.
func sleeper(t *testing.T) (url string, caBundle []byte, asked chan struct{}) {
	t.Helper()
	asked = make(chan struct{}, 1000)
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		timer := time.NewTimer(webhookSleeps)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), asked
}

// registerSleeper makes a tenant's API server ask a webhook that sleeps about every status of a pod.
func registerSleeper(t *testing.T, tenant tenants.Tenant) (asked chan struct{}, unregister func()) {
	t.Helper()
	url, caBundle, asked := sleeper(t)
	none := admissionv1.SideEffectClassNone
	webhooks := kubernetes.NewForConfigOrDie(tenant.VirtualConfig).AdmissionregistrationV1().ValidatingWebhookConfigurations()
	made, err := webhooks.Create(t.Context(), &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "sleeper"},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "sleeper.example.test", ClientConfig: admissionv1.WebhookClientConfig{URL: &url, CABundle: caBundle},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods/status"}},
			}},
			SideEffects: &none, TimeoutSeconds: pointer(int32(30)), AdmissionReviewVersions: []string{"v1"},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return asked, func() {
		if err := webhooks.Delete(t.Context(), made.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSleepingWebhook: a tenant whose webhook sleeps on what the agent writes holds up these objects and nothing else, and they
// go on at once when it is gone.
func TestSleepingWebhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	node := w.preparePods(t)
	virtual := w.addNeighbour(t)
	w.run(t)
	makeWeb(t, w.virtual)
	lagsOf := func(round string) (median, slowest time.Duration) {
		var lags []time.Duration
		for index := range 25 {
			lags = append(lags, lagOf(t, node, virtual, newWebPod(fmt.Sprintf("%s-%d", round, index))))
		}
		slices.Sort(lags)
		t.Logf("%s: host Ready to tenant Ready of the neighbour: median %s, slowest %s", round, lags[len(lags)/2], lags[len(lags)-1])
		return lags[len(lags)/2], lags[len(lags)-1]
	}
	medianBefore, slowestBefore := lagsOf("before")

	asked, unregister := registerSleeper(t, w.tenant)
	probes := 0
	eventually(t, "the webhook is asked", func() error { // the API server takes a moment to see it
		probes++
		create(t, w.virtual, newWebPod(fmt.Sprintf("probe-%d", probes)))
		select {
		case <-asked:
			return nil
		case <-time.After(2 * time.Second):
			return errors.New("not yet")
		}
	})
	var slept []*corev1.Pod
	for index := range 40 {
		slept = append(slept, create(t, w.virtual, newWebPod(fmt.Sprintf("slept-%d", index))))
	}
	// Whoever waits for the webhook waits for as long as it sleeps, or for the five seconds of the agent's patience at least.
	median, slowest := lagsOf("during")
	if most := max(3*medianBefore, 2*time.Second); median > most {
		t.Errorf("with the webhook half of them took %s and more, want at most %s", median, most)
	}
	if most := max(3*slowestBefore, 4*time.Second); slowest > most {
		t.Errorf("with the webhook the slowest took %s, want at most %s", slowest, most)
	}
	// What the webhook does not look at goes on in the same tenant.
	for index := range 5 {
		began, service := time.Now(), newWebService(fmt.Sprintf("service-%d", index))
		create(t, w.virtual, service)
		await(t, w.host, client.ObjectKey{Namespace: mapping.HostNamespace(w.tenant.ID, "web"), Name: service.Name}, &corev1.Service{},
			func(*corev1.Service) error { return nil })
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("a Service of the tenant with the webhook took %s", took)
		}
	}
	for _, virtualPod := range slept {
		if err := w.virtual.Get(t.Context(), client.ObjectKeyFromObject(virtualPod), virtualPod); err != nil {
			t.Fatal(err)
		}
		if virtualPod.Status.Phase == corev1.PodRunning {
			t.Errorf("%s runs; the webhook does not sleep", virtualPod.Name)
		}
	}
	unregister()
	began := time.Now()
	for _, virtualPod := range slept {
		// The API server takes a moment to see that the webhook is gone, calls that are under way last five seconds at most, and the
		// next try is a second later.
		eventuallyWithin(t, 20*time.Second, "the pod of the tenant with the webhook", func() error {
			if err := w.virtual.Get(t.Context(), client.ObjectKeyFromObject(virtualPod), virtualPod); err != nil {
				return err
			}
			return expect(virtualPod.Status.Phase == corev1.PodRunning, "%s is %s", virtualPod.Name, virtualPod.Status.Phase)
		})
	}
	t.Logf("the pods of the tenant run %s after its webhook is gone", time.Since(began))
}

// addNeighbour adds a tenant for an engine that runs later, and returns a client of it.
func (w *world) addNeighbour(t *testing.T) client.Client {
	t.Helper()
	neighbour := w.tenant
	neighbour.ID, neighbour.UID, neighbour.Name = "aaaaaaaa", "6f1f2b4e-0000-4000-8000-000000000002", "neighbour"
	neighbour.VirtualConfig = testenv.StartTenant(t)
	w.others = []tenants.Tenant{neighbour}
	virtual := newClient(t, neighbour.VirtualConfig)
	makeWeb(t, virtual)
	return virtual
}

// makeWeb makes the namespace of newWebPod.
func makeWeb(t *testing.T, in client.Client) {
	t.Helper()
	create(t, in, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "web"}})
	await(t, in, client.ObjectKey{Namespace: "web", Name: "default"}, &corev1.ServiceAccount{}, func(*corev1.ServiceAccount) error { return nil })
}

func newWebService(name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

func newWebPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.test/app:1"}}},
	}
}

// lagOf makes a pod and returns how long after its host pod it was Ready.
func lagOf(t *testing.T, node *playedNode, virtual client.Client, virtualPod *corev1.Pod) time.Duration {
	t.Helper()
	create(t, virtual, virtualPod)
	eventually(t, "pod "+virtualPod.Name, func() error {
		if err := virtual.Get(t.Context(), client.ObjectKeyFromObject(virtualPod), virtualPod); err != nil {
			return err
		}
		return expect(virtualPod.Status.Phase == corev1.PodRunning, "it is %s", virtualPod.Status.Phase)
	})
	return time.Since(node.startedAt(virtualPod.UID))
}
