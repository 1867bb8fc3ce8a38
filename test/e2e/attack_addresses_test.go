package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// bait is a Service without selector and the one address behind it, written by hand.
const bait = `
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {ports: [{port: 80, targetPort: %[3]s}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: %[1]s
  labels: {kubernetes.io/service-name: %[1]s}
addressType: IPv4
ports: [{name: "", port: %[3]s}]
endpoints: [{addresses: ["%[2]s"], conditions: {ready: true}}]
`

// attackByEndpoints writes addresses of others behind a Service of the attacker's own, and calls that.
func attackByEndpoints(t *testing.T, a, b *tenant, own, other *corev1.Pod) {
	const namespace = "apps"
	reach := func(t *testing.T, name, address string) string {
		t.Helper()
		ip, port, _ := strings.Cut(address, ":")
		a.apply(t, namespace, fmt.Sprintf(bait, name, ip, port))
		service, err := a.client.CoreV1().Services(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return service.Spec.ClusterIP + ":80"
	}
	// First that a Service can be made so: with a pod of the attacker's own behind it.
	a.reaches(t, namespace, reach(t, "endpoints-own", own.Status.PodIP+":8080"))

	otherAPI, err := b.client.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, target := range append(hostAddresses(t, a.host), other.Status.PodIP+":8080", otherAPI.Spec.ClusterIP+":443") {
		t.Run(target, func(t *testing.T) {
			name := fmt.Sprintf("endpoints-%d", i)
			ip, _, _ := strings.Cut(target, ":")
			address := reach(t, name, target)
			a.hasEvent(t, namespace, name, ip)
			slices, err := a.host.client(t).DiscoveryV1().EndpointSlices(mapping.HostNamespace(a.id, namespace)).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, slice := range slices.Items {
				if strings.Contains(slice.String(), ip+`"`) || strings.Contains(slice.String(), "["+ip+"]") {
					t.Errorf("the host's EndpointSlice %s names %s", slice.Name, ip)
				}
			}
			a.doesNotReach(t, namespace, address)
		})
	}
}

// attackByExternalAddresses asks the nodes to take addresses of others over, and calls ports of nodes.
func attackByExternalAddresses(t *testing.T, a, b *tenant) {
	const namespace = "apps"
	host := a.host.client(t)
	api, err := host.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	otherService, err := b.client.CoreV1().Services(namespace).Get(t.Context(), "shell", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a.apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: hijack}
spec:
  selector: {app: shell}
  ports: [{port: 80, targetPort: 8080}]
  externalIPs: [%q, %q, 192.0.2.7]
`, api.Spec.ClusterIP, otherService.Spec.ClusterIP))
	a.hasEvent(t, namespace, "hijack", "externalIPs")
	copied, err := host.CoreV1().Services(mapping.HostNamespace(a.id, namespace)).Get(t.Context(), "hijack", metav1.GetOptions{})
	if err != nil || len(copied.Spec.ExternalIPs) > 0 {
		t.Errorf("the host's Service has the external addresses %v (%v)", copied.Spec.ExternalIPs, err)
	}
	// What the victim calls is still its own.
	b.reaches(t, namespace, otherService.Spec.ClusterIP+":80")
	eventually(t, startTimeout, func(ctx context.Context) error {
		seen := b.read(ctx, "-n", namespace, "shell", "--", "wget", "-qO-", "http://"+otherService.Spec.ClusterIP+"/")
		if seen.err == nil && !strings.Contains(seen.stdout, "served by shell") {
			t.Errorf("the victim's Service answers %q", seen.stdout)
		}
		return seen.err
	})

	b.apply(t, namespace, `
apiVersion: v1
kind: Service
metadata: {name: published}
spec: {type: NodePort, selector: {app: shell}, ports: [{port: 80, targetPort: 8080}]}
`)
	published, err := b.client.CoreV1().Services(namespace).Get(t.Context(), "published", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.reaches(t, namespace, published.Spec.ClusterIP+":80")
	for _, address := range hostAddresses(t, a.host) {
		if ip, port, _ := strings.Cut(address, ":"); port == "10250" {
			a.doesNotReach(t, namespace, fmt.Sprintf("%s:%d", ip, published.Spec.Ports[0].NodePort))
		}
	}
	a.doesNotReach(t, namespace, "169.254.169.254:80")
}

// attackByWebhooks has the control plane call addresses as webhooks and as aggregated API servers.
func attackByWebhooks(t *testing.T, a, b *tenant, own, other *corev1.Pod) {
	const namespace = "apps"
	// call makes an object that the webhook is asked about, and returns what the API server tells of the call.
	call := func(t *testing.T, name, address string) string {
		t.Helper()
		a.apply(t, namespace, fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: %[1]s}
webhooks:
- name: bait.example.com
  clientConfig: {url: "https://%[2]s/"}
  timeoutSeconds: 5
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  objectSelector: {matchLabels: {bait: %[1]s}}
`, name, address))
		var told string
		eventually(t, startTimeout, func(ctx context.Context) error {
			object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"bait": name}}}
			_, err := a.client.CoreV1().ConfigMaps(namespace).Create(ctx, object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err == nil {
				return fmt.Errorf("the webhook %s is not asked yet", name)
			}
			if told = err.Error(); !strings.Contains(told, "failed calling webhook") {
				return err // it was not the webhook that refused
			}
			return nil
		})
		return told
	}
	// What answers does not speak as a webhook does; that it has answered is what is told.
	answered := []string{"HTTP response to HTTPS client", "x509", "certificate", "status code", "remote error"}
	saysAnswered := func(told string) bool {
		for _, word := range answered {
			if strings.Contains(told, word) {
				return true
			}
		}
		return false
	}
	eventually(t, startTimeout, func(context.Context) error { // five seconds may be short on a busy machine
		if told := call(t, "webhook-own", own.Status.PodIP+":8080"); !saysAnswered(told) {
			return fmt.Errorf("the control plane does not call the tenant's own pod: %s", told)
		}
		return nil
	})
	otherAPI, err := b.client.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The two doors do answer, with TLS that asks for a certificate; what they then let in is tested elsewhere.
	for i, target := range append(hostAddresses(t, a.host), other.Status.PodIP+":8080", otherAPI.Spec.ClusterIP+":443", "169.254.169.254:80") {
		if strings.HasSuffix(target, ":8444") || strings.HasSuffix(target, ":8445") {
			continue
		}
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			if told := call(t, fmt.Sprintf("webhook-%d", i), target); saysAnswered(told) {
				t.Errorf("the control plane calls %s: %s", target, told)
			}
		})
	}
	t.Run("aggregated API", func(t *testing.T) {
		t.Parallel()
		api := hostAddresses(t, a.host)[0]
		ip, port, _ := strings.Cut(api, ":")
		a.apply(t, namespace, fmt.Sprintf(bait, "aggregated", ip, port)+`
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.bait.example.com}
spec:
  group: bait.example.com
  version: v1
  insecureSkipTLSVerify: true
  groupPriorityMinimum: 100
  versionPriority: 100
  service: {name: aggregated, namespace: apps, port: 80}
`)
		t.Cleanup(func() {
			// Otherwise it stands in the way of deleting namespaces.
			ctx, cancel := context.WithTimeout(context.Background(), cliTimeout)
			defer cancel()
			_ = a.kubectl(ctx, "delete", "apiservice", "v1.bait.example.com").err
		})
		ctx, cancel := context.WithTimeout(t.Context(), proxyTimeout)
		defer cancel()
		seen, err := ask(ctx, a.config, "/apis/bait.example.com/v1/anything", "")
		if err == nil && seen.code != http.StatusServiceUnavailable && seen.code != http.StatusNotFound {
			t.Errorf("an aggregated API at %s is answered: %d %s", api, seen.code, seen.body)
		}
	})
}

// attackKubeletStreams asks for exec, attach and port-forward of what is not the tenant's, with paths that mean one thing to one
// reader and another to the next.
func attackKubeletStreams(t *testing.T, a, b *tenant) {
	nodes, err := a.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) == 0 {
		t.Fatalf("the tenant has no node: %v", err)
	}
	node := "/api/v1/nodes/" + nodes.Items[0].Name + "/proxy"
	control, others := mapping.ControlNamespace(a.id), mapping.HostNamespace(b.id, "apps")
	const exec, pods = "?command=id&output=1&stdout=1", "/api/v1/namespaces/apps/pods/"
	eventually(t, startTimeout, func(ctx context.Context) error {
		seen := a.kubectl(ctx, "exec", "-n", "apps", "shell", "--", "id")
		if seen.err == nil && !strings.Contains(seen.stdout, "uid=") {
			return fmt.Errorf("the tenant cannot run a command in its own pod: %s", seen.stdout)
		}
		return seen.err
	})
	for _, path := range []string{
		node + "/exec/" + control + "/controlplane-0/controlplane" + exec,
		node + "/exec/" + others + "/shell/shell" + exec,
		node + "/exec/apps%2F..%2F" + control + "/controlplane-0/controlplane" + exec,
		node + "/exec/apps/shell%2F..%2F..%2F" + control + "%2Fcontrolplane-0/controlplane" + exec,
		node + "/exec/apps/..%252f" + control + "/controlplane-0/controlplane" + exec,
		node + "/attach/" + control + "/controlplane-0/controlplane?output=1",
		node + "/attach/apps%2F..%2F" + others + "/shell/shell?output=1",
		node + "/portForward/" + control + "/controlplane-0?port=6443",
		node + "/portForward/apps%2F..%2F" + others + "/shell?port=8080",
		node + "/run/apps%2F..%2F" + others + "/shell/shell?cmd=id",
		pods + "..%2F..%2F" + control + "%2Fpods%2Fcontrolplane-0/exec" + exec,
		pods + "shell%2F..%2F..%2F..%2F" + others + "%2Fpods%2Fshell/exec" + exec,
		pods + "shell/exec%2F..%2F..%2F..%2F" + control + "/exec" + exec,
		pods + "..%2F" + control + "/attach?stdout=1",
		pods + "%2e%2e%2f%2e%2e%2f" + others + "%2fpods%2fshell/portforward?ports=8080",
		"/api/v1/namespaces/apps%2F..%2F" + others + "/pods/shell/exec" + exec,
		"/api/v1/namespaces/" + others + "/pods/shell/exec" + exec,
		"/api/v1/namespaces/" + control + "/pods/controlplane-0/exec" + exec,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		seen, err := ask(ctx, a.config, path, "")
		cancel()
		if err == nil && (seen.code < 400 || strings.Contains(seen.body, "uid=")) {
			t.Errorf("%s is answered: %d %.500s", path, seen.code, seen.body)
		}
	}
}
