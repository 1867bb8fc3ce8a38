package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/flowcontrol"
	logsapi "k8s.io/component-base/logs/api/v1"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/dns"
	"github.com/matryoshka-dev/matryoshka/internal/host/metricsserver"
	"github.com/matryoshka-dev/matryoshka/internal/host/network"
	"github.com/matryoshka-dev/matryoshka/internal/host/networkpolicy"
	"github.com/matryoshka-dev/matryoshka/internal/host/pki"
	"github.com/matryoshka-dev/matryoshka/internal/host/storage"
)

// stopTimeout bounds how long the components get to end by themselves. Some never do: kube-proxy takes no context, and its
// watches hold the API server. Nothing is lost by leaving them: what was acknowledged is on the disk.
const stopTimeout = 1500 * time.Millisecond

// group runs the components: the first that ends, ends all.
type group struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
}

// start runs one component. That it ends without being asked is an error, whatever it says.
func (g *group) start(name string, run func(context.Context) error) {
	g.running.Go(func() {
		err := run(g.ctx)
		if g.ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("ended without a reason")
		}
		g.cancel(fmt.Errorf("%s: %w", name, err))
	})
}

// Run is the inner process. It returns when ctx ends or a component does.
func Run(ctx context.Context, config Config) error {
	report := &phases{out: config.Reports}
	if err := run(ctx, config, report); err != nil {
		return errors.Join(err, report.fail(err))
	}
	return nil
}

func run(ctx context.Context, config Config, report *phases) error {
	// All components share klog, and each of them would set it up.
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	layout := config.Layout
	if err := prepareCgroups(layout); err != nil {
		return err
	}
	if err := writeResolverConfig(layout); err != nil {
		return err
	}
	files, err := pki.Ensure(layout.Data("pki"), config.names())
	if err != nil {
		return err
	}
	done := report.track(control.PhaseDatastore)
	store, err := startDatastore(layout)
	if err != nil {
		return err
	}
	// The store ends last: the API server writes until its end.
	defer store.stop()
	if err := done(); err != nil {
		return err
	}
	return runComponents(ctx, config, files, report)
}

func (c *Config) names() pki.Names {
	names := pki.Names{
		NodeName:          Name,
		NodeAddress:       network.NodeAddress.AsSlice(),
		ServiceAddress:    network.APIService.AsSlice(),
		InsideServer:      "https://" + net.JoinHostPort(network.NodeAddress.String(), strconv.Itoa(network.APIPort)),
		OutsideServer:     "https://127.0.0.1:" + strconv.Itoa(c.Options.APIPort),
		OutsideKubeconfig: c.Layout.Kubeconfig(),
	}
	if c.Options.Nodes > 1 {
		names.WorkerName, names.WorkerAddress = WorkerName, network.WorkerAddress.AsSlice()
	}
	return names
}

func runComponents(ctx context.Context, config Config, files pki.Files, report *phases) error {
	// The API server outlives the others a little, so that their last writes find it.
	serverCtx, stopServer := context.WithCancelCause(context.WithoutCancel(ctx))
	server := &group{ctx: serverCtx, cancel: stopServer}
	othersCtx, stopOthers := context.WithCancelCause(ctx)
	others := &group{ctx: othersCtx, cancel: stopOthers}

	done := report.track(control.PhaseAPIServer)
	server.start("kube-apiserver", func(ctx context.Context) error { return runAPIServer(ctx, config.Layout, files) })
	stop := context.AfterFunc(serverCtx, func() { stopOthers(context.Cause(serverCtx)) })
	defer stop()
	err := startOthers(others, config, files, report, done)
	if err == nil {
		<-othersCtx.Done()
		err = context.Cause(othersCtx)
	}
	stopOthers(err)
	stopServer(err)
	if !waitAtMost(stopTimeout, func() { others.running.Wait(); server.running.Wait() }) {
		config.Logger.Warn("Components did not end in time", "timeout", stopTimeout.String())
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func startOthers(g *group, config Config, files pki.Files, report *phases, apiServerDone func() error) error {
	client, err := newClient(files.Kubeconfig(pki.Admin))
	if err != nil {
		return err
	}
	if err := waitForFirstObjects(g.ctx, client); err != nil {
		return err
	}
	policies, err := newNetworkPolicies(client, config.Logger)
	if err != nil {
		return err
	}
	// These have rights without RBAC, whose first objects the API server still has to make: they start beside that.
	layout, node := config.Layout, config.node()
	g.startKubelet(node, files, policies.Fence)
	g.start("kube-controller-manager", func(ctx context.Context) error {
		// It waits itself before it does anything, but gives up after ten seconds, which a busy machine can take.
		if err := waitForAPI(ctx, client); err != nil {
			return err
		}
		return runControllers(ctx, files)
	})
	dnsStarted := make(chan struct{})
	g.start("cluster DNS", func(ctx context.Context) error {
		return dns.Run(ctx, dns.Config{
			Address: network.DNSAddress.String(), Port: network.DNSPort, Domain: ClusterDomain,
			Kubeconfig: files.Kubeconfig(pki.Admin), Upstream: config.Upstream,
		}, func() { close(dnsStarted) })
	})
	g.start("forwarding", func(ctx context.Context) error { return forward(ctx, config, client) })
	g.start("storage", func(ctx context.Context) error { return runStorage(ctx, layout, client, config.Logger, report) })
	g.start("network policies", policies.Run)
	g.start("start of DNS", func(ctx context.Context) error { return watchDNS(ctx, client, layout, report) })
	g.start("start of the node", func(ctx context.Context) error {
		return watchNode(ctx, client, Name, report.track(control.PhaseNodeRegistered), report.track(control.PhaseNodeReady))
	})

	if err := waitForAPI(g.ctx, client); err != nil {
		return err
	}
	g.start("kube-scheduler", func(ctx context.Context) error { return runScheduler(ctx, files) })
	g.start("metrics server", func(ctx context.Context) error {
		return metricsserver.Run(ctx, metricsserver.Config{
			Layout: layout, Files: files, ProgramDir: config.Options.ProgramsDir, Logger: config.Logger,
		})
	})
	g.start("kube-proxy", func(ctx context.Context) error {
		// It sends the log of the standard library to klog.
		select {
		case <-dnsStarted:
			return runKubeProxy(ctx, node, files)
		case <-ctx.Done():
			return nil
		}
	})
	if config.Options.Nodes < 2 {
		if err := forgetWorker(g.ctx, client); err != nil {
			return err
		}
	}
	return apiServerDone()
}

func (g *group) startKubelet(node place, files pki.Files, fence fence) {
	g.start("kubelet", func(ctx context.Context) error {
		// It gives up when the runtime does not answer its first call.
		if err := waitForRuntime(ctx, node.layout); err != nil {
			return err
		}
		return runKubelet(ctx, node, files, fence)
	})
}

func newClient(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of the host itself: %w", err)
	}
	config.UserAgent = fieldManager
	// The server is in the same process: a limit in the client would only slow starts down.
	config.RateLimiter = flowcontrol.NewFakeAlwaysRateLimiter()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the client of the host itself: %w", err)
	}
	return client, nil
}

// waitForFirstObjects waits until the API server answers and has made its own namespaces.
func waitForFirstObjects(ctx context.Context, client kubernetes.Interface) error {
	return poll(ctx, func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		return err == nil
	})
}

// waitForAPI waits until the API server says that it is ready.
func waitForAPI(ctx context.Context, client kubernetes.Interface) error {
	return poll(ctx, func(ctx context.Context) bool {
		var status int
		result := client.Discovery().RESTClient().Get().AbsPath("/readyz").Timeout(2 * time.Second).Do(ctx).StatusCode(&status)
		return result.Error() == nil && status == http.StatusOK
	})
}

func waitForRuntime(ctx context.Context, layout control.Layout) error {
	return poll(ctx, func(ctx context.Context) bool {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", layout.ContainerdSocket())
		return err == nil && conn.Close() == nil
	})
}

func runStorage(ctx context.Context, layout control.Layout, client kubernetes.Interface, logger *slog.Logger, report *phases) error {
	provisioner, err := storage.New(client, layout.Data("volumes"), Name, logger)
	if err != nil {
		return err
	}
	return provisioner.Run(ctx, report.track(control.PhaseStorage))
}

// newNetworkPolicies lets policies select cluster DNS as they would where it is a pod.
func newNetworkPolicies(client kubernetes.Interface, logger *slog.Logger) (*networkpolicy.Controller, error) {
	return networkpolicy.New(client, []networkpolicy.Pod{{
		Namespace: metav1.NamespaceSystem, Labels: dnsLabels, Address: network.DNSAddress,
		Ports: []networkpolicy.NamedPort{
			{Name: "dns", Protocol: corev1.ProtocolUDP, Port: network.DNSPort},
			{Name: "dns-tcp", Protocol: corev1.ProtocolTCP, Port: network.DNSPort},
		},
	}}, logger)
}

// watchDNS makes the Service and waits for an answer through it: that says that kube-proxy works too.
func watchDNS(ctx context.Context, client kubernetes.Interface, layout control.Layout, report *phases) error {
	done := report.track(control.PhaseDNS)
	err := poll(ctx, func(ctx context.Context) bool { return ensureDNSService(ctx, client) == nil })
	if err != nil {
		return err
	}
	err = pollAtMost(ctx, answerTimeout, func(ctx context.Context) bool {
		return dns.Answers(ctx, network.DNSService.String(), ClusterDomain) == nil
	})
	if errors.Is(err, errHangs) {
		return hangs(layout.Data("logs", "goroutines.txt"))
	}
	if err != nil {
		return err
	}
	return reportAndStay(ctx, done)
}

// watchNode waits until the node is there, is Ready and takes pods, and reports both.
func watchNode(ctx context.Context, client kubernetes.Interface, name string, registered, ready func() error) error {
	// The API tells time in whole seconds.
	start := time.Now().Truncate(time.Second)
	err := poll(ctx, func(ctx context.Context) bool {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		return err == nil && isReportedSince(node, start)
	})
	if err != nil {
		return err
	}
	if err := registered(); err != nil {
		return err
	}
	err = poll(ctx, func(ctx context.Context) bool {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		return err == nil && isReportedSince(node, start) && takesPods(node)
	})
	if err != nil {
		return err
	}
	return reportAndStay(ctx, ready)
}

// isReportedSince says whether the kubelet of this start has written the node's status: after a restart the node of the
// last one is still there, and looks Ready.
func isReportedSince(node *corev1.Node, start time.Time) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return !condition.LastHeartbeatTime.Time.Before(start)
		}
	}
	return false
}

// takesPods says that the node is Ready and that the controllers have seen it: they take off the taints that keep pods away.
func takesPods(node *corev1.Node) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Key == corev1.TaintNodeNotReady || taint.Key == corev1.TaintNodeUnreachable || taint.Key == corev1.TaintNodeNetworkUnavailable {
			return false
		}
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// reportAndStay reports the end of a phase and returns when ctx ends: a component that returns earlier ends all.
func reportAndStay(ctx context.Context, report func() error) error {
	if err := report(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// poll asks every 50 ms until the answer is yes or ctx ends.
func poll(ctx context.Context, ask func(context.Context) bool) error {
	for !ask(ctx) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// waitAtMost says whether wait returned in time.
func waitAtMost(limit time.Duration, wait func()) bool {
	ended := make(chan struct{})
	// When the time is over the process ends, and this goroutine with it.
	go func() { wait(); close(ended) }()
	select {
	case <-ended:
		return true
	case <-time.After(limit):
		return false
	}
}
