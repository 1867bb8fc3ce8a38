package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// attackByFloods fills what the tenant can fill, and holds what it can hold; the neighbour must not notice.
func attackByFloods(t *testing.T, a, b *tenant) {
	t.Run("events", func(t *testing.T) { floodEvents(t, a) })
	t.Run("namespaces", func(t *testing.T) { floodNamespaces(t, a) })
	t.Run("large objects", func(t *testing.T) { floodLargeObjects(t, a) })
	t.Run("watches that nobody reads", func(t *testing.T) { holdWatches(t, a, b) })
	t.Run("the neighbour", func(t *testing.T) {
		b.apply(t, "apps", strings.ReplaceAll(testdata(t, "shell.yaml"), "name: shell\n", "name: after\n"))
		b.podReady(t, "apps", "after")
	})
}

// many creates so many objects, some at once.
func many(t *testing.T, count int, create func(ctx context.Context, i int) error) {
	t.Helper()
	const atOnce = 20
	var group sync.WaitGroup
	for worker := range atOnce {
		group.Go(func() {
			for i := worker; i < count; i += atOnce {
				if err := untilDone(t.Context(), apierrors.IsAlreadyExists, func(ctx context.Context) error { return create(ctx, i) }); err != nil {
					t.Errorf("the %dth: %v", i, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// floodEvents: events of a tenant's own making never reach the host.
func floodEvents(t *testing.T, a *tenant) {
	const namespace, count = "apps", 1000
	many(t, count, func(ctx context.Context, i int) error {
		_, err := a.client.CoreV1().Events(namespace).Create(ctx, &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Name: fmt.Sprintf("flood-%d", i)},
			InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: "shell"},
			Reason:         "Flood", Message: strings.Repeat("x", 1000), Type: corev1.EventTypeWarning,
		}, metav1.CreateOptions{})
		return err
	})
	events, err := a.host.client(t).CoreV1().Events(mapping.HostNamespace(a.id, namespace)).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events.Items {
		if event.Reason == "Flood" {
			t.Fatalf("the host has the tenant's event %s", event.Name)
		}
	}
}

// floodNamespaces: a namespace with nothing that has to run costs the host nothing that grows with their number without bound.
func floodNamespaces(t *testing.T, a *tenant) {
	// Fewer than the agent's bound, which TestLimits tries: deleting hundreds takes the host minutes.
	const count = 60
	// mostNamespaces are those, the ones that were there before, and the control plane's own.
	const mostNamespaces = count + 10
	many(t, count, func(ctx context.Context, i int) error {
		_, err := a.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("flood-%d", i)}}, metav1.CreateOptions{})
		return err
	})
	hosted, err := a.host.client(t).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{LabelSelector: mapping.LabelID + "=" + a.id})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d namespaces of the tenant have %d on the host", count, len(hosted.Items))
	if len(hosted.Items) > mostNamespaces {
		t.Errorf("the host has %d namespaces of one virtual cluster", len(hosted.Items))
	}
}

// floodLargeObjects: what is as large as it may be is taken, or refused with a reason; what is larger is refused by the tenant's
// API server, and the agent goes on.
func floodLargeObjects(t *testing.T, a *tenant) {
	const namespace = "apps"
	maps := a.client.CoreV1().ConfigMaps(namespace)
	create := func(name string, bytes int) error {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"x": strings.Repeat("x", bytes)}}
		return untilDone(t.Context(), apierrors.IsAlreadyExists, func(ctx context.Context) error {
			_, err := maps.Create(ctx, object, metav1.CreateOptions{})
			return err
		})
	}
	for i := range 10 {
		if err := create(fmt.Sprintf("large-%d", i), 1<<20); err != nil {
			t.Fatalf("an object of a MiB: %v", err)
		}
	}
	err := create("too-large", 4<<20)
	if !apierrors.IsRequestEntityTooLargeError(err) && !apierrors.IsInvalid(err) {
		t.Errorf("an object of 4 MiB ends with %v", err)
	}
	a.apply(t, namespace, `
apiVersion: v1
kind: Pod
metadata: {name: large}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: large, configMap: {name: large-0}}]
  containers: [{name: main, image: IMAGE(busybox), command: [sleep, "600"], volumeMounts: [{name: large, mountPath: /large}]}]
`)
	a.podReady(t, namespace, "large")
}

// holdWatches opens watches, reads nothing of them, and makes changes that they would be told of.
func holdWatches(t *testing.T, a, b *tenant) {
	const namespace, watches, changes = "apps", 100, 300
	before := a.starts(t)
	transport, err := rest.TransportFor(&rest.Config{TLSClientConfig: a.config.TLSClientConfig, Host: a.config.Host})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var open []io.Closer
	for range watches {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(a.config.Host, "/")+"/api/v1/namespaces/"+namespace+"/configmaps?watch=true", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request) //nolint:bodyclose // all are closed at the end, that they are not read is the attack
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusOK {
			t.Fatalf("a watch is answered %d", response.StatusCode)
		}
		open = append(open, response.Body)
	}
	many(t, changes, func(ctx context.Context, i int) error {
		object := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("held-%d", i)}, Data: map[string]string{"x": strings.Repeat("x", 20<<10)},
		}
		_, err := a.client.CoreV1().ConfigMaps(namespace).Create(ctx, object, metav1.CreateOptions{})
		return err
	})
	for name, v := range map[string]*tenant{"the attacker": a, "the neighbour": b} {
		asked, done := context.WithTimeout(t.Context(), 30*time.Second)
		if seen, err := ask(asked, v.config, "/api/v1/namespaces/"+namespace+"/pods", ""); err != nil || seen.code != http.StatusOK {
			t.Errorf("the API server of %s is asked for pods: %d (%v)", name, seen.code, err)
		}
		done()
	}
	if after := a.starts(t); after != before {
		t.Errorf("the control plane was restarted: it was %q and is %q", before, after)
	}
	for _, body := range open {
		body.Close()
	}
}

// starts tells which pod the control plane is, and how often its containers were started again.
func (v *tenant) starts(t *testing.T) string {
	t.Helper()
	pod, err := v.host.client(t).CoreV1().Pods(mapping.ControlNamespace(v.id)).Get(t.Context(), "controlplane-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	told := string(pod.UID)
	for _, status := range pod.Status.ContainerStatuses {
		told += fmt.Sprintf(" %s:%d", status.Name, status.RestartCount)
	}
	return told
}

// attackByCertificates shows certificates at the API server that are out of time or of another's making.
func attackByCertificates(t *testing.T, a, b *tenant) {
	authority := func(v *tenant) *pki.Tenant {
		secret, err := v.host.client(t).CoreV1().Secrets(mapping.ControlNamespace(v.id)).Get(t.Context(), "pki-agent", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found, err := pki.ParseTenant(secret.Data)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	leaf := pki.AdministratorLeaf()
	leaf.Life = time.Hour
	show := func(by *pki.Authority, at time.Time) (answer, error) {
		pair, err := by.Issue(leaf, at)
		if err != nil {
			t.Fatal(err)
		}
		config := rest.AnonymousClientConfig(a.config)
		config.CertData, config.KeyData = pair.CertPEM, pair.KeyPEM
		return ask(t.Context(), config, "/api/v1/namespaces", "")
	}
	own, now := authority(a), time.Now()
	if seen, err := show(own.Client, now); err != nil || seen.code != http.StatusOK {
		t.Fatalf("a good certificate: %d %s (%v)", seen.code, seen.body, err)
	}
	for name, tried := range map[string]struct {
		by *pki.Authority
		at time.Time
	}{
		"expired":                      {own.Client, now.Add(-2 * time.Hour)},
		"not valid yet":                {own.Client, now.Add(48 * time.Hour)}, // they begin a day before they are made
		"of the other's client CA":     {authority(b).Client, now},
		"of the CA of serving":         {own.Serving, now},
		"of the CA of kubelets":        {own.Kubelet, now},
		"of the CA of the front proxy": {own.FrontProxy, now},
	} {
		if seen, err := show(tried.by, tried.at); err == nil && seen.code != http.StatusUnauthorized {
			t.Errorf("a certificate that is %s is answered %d %s", name, seen.code, seen.body)
		}
	}
}
