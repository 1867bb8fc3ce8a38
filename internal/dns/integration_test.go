package dns

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/internal/dns/hostview"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

// TestNamesOfRealObjects checks what only a real host does: its controller makes the EndpointSlices, whose labels must
// say whose they are, and the watches follow changes.
func TestNamesOfRealObjects(t *testing.T) {
	host, err := kubernetes.NewForConfig(testenv.StartHost(t))
	if err != nil {
		t.Fatal(err)
	}
	server := startOn(t, host)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: mapping.HostNamespace(id, "default")}}
	if _, err := host.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// The controller leaves out pods of nodes that do not exist.
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}
	if _, err := host.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	addRunningPod(t, host, "client", "127.0.0.1", nil)
	database := addRunningPod(t, host, "db-0", "10.0.0.20", func(p *corev1.Pod) {
		p.Labels["app"], p.Spec.Hostname = "db", "db-0"
		p.Annotations = map[string]string{mapping.AnnotationSubdomain: "db"}
	})
	addService(t, host, "db", func(s *corev1.Service) {
		s.Spec.ClusterIP, s.Spec.Selector = corev1.ClusterIPNone, map[string]string{"app": "db"}
	})
	web := addService(t, host, "web", nil)

	resolves := func(name, want string) {
		t.Helper()
		eventually(t, name+" being "+want, func() bool {
			answer := exchange(t, "udp", server, name)
			return len(answer.Answer) == 1 && address(answer.Answer[0]) == want
		})
	}
	resolves("web.default.svc.cluster.local.", web.Spec.ClusterIP)
	resolves("db.default.svc.cluster.local.", "10.0.0.20")
	resolves("db-0.db.default.svc.cluster.local.", "10.0.0.20")

	setReady(t, host, database, corev1.ConditionFalse)
	eventually(t, "the unready endpoint going", func() bool {
		return exchange(t, "udp", server, "db.default.svc.cluster.local.").Rcode == mdns.RcodeNameError
	})
	if err := host.CoreV1().Services(web.Namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the deleted Service going", func() bool {
		return exchange(t, "udp", server, "web.default.svc.cluster.local.").Rcode == mdns.RcodeNameError
	})
}

func address(record mdns.RR) string {
	if a, ok := record.(*mdns.A); ok {
		return a.A.String()
	}
	return ""
}

func startOn(t *testing.T, host kubernetes.Interface) string {
	t.Helper()
	view, err := hostview.New(host)
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := listen(t.Context(), Options{Listen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, "cluster.local", view, nil, sockets, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	eventually(t, "readiness", func() bool {
		return status(t, "http://"+sockets.http.Addr().String()+"/readyz") == http.StatusOK
	})
	return sockets.tcp.Addr().String()
}

func addService(t *testing.T, host kubernetes.Interface, name string, change func(*corev1.Service)) *corev1.Service {
	t.Helper()
	service := &corev1.Service{ObjectMeta: hostMeta(name), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "tcp", Port: 80}}}}
	if change != nil {
		change(service)
	}
	made, err := host.CoreV1().Services(service.Namespace).Create(t.Context(), service, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func addRunningPod(t *testing.T, host kubernetes.Interface, name, ip string, change func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: hostMeta(name), Spec: corev1.PodSpec{
		NodeName: "node-1", Containers: []corev1.Container{{Name: "app", Image: "app"}},
	}}
	if change != nil {
		change(pod)
	}
	var made *corev1.Pod
	eventually(t, "the namespace's ServiceAccount", func() bool {
		var err error
		made, err = host.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
		return err == nil
	})
	made.Status.Phase, made.Status.PodIP, made.Status.PodIPs = corev1.PodRunning, ip, []corev1.PodIP{{IP: ip}}
	return setReady(t, host, made, corev1.ConditionTrue)
}

func setReady(t *testing.T, host kubernetes.Interface, pod *corev1.Pod, ready corev1.ConditionStatus) *corev1.Pod {
	t.Helper()
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.NewTime(time.Now())}}
	updated, err := host.CoreV1().Pods(pod.Namespace).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return updated
}
