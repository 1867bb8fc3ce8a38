// Package networkisolation finds out whether the host enforces NetworkPolicies, which fence virtual clusters off.
//
// It needs two pods, and no right but to see them: the agent's own and one of matryd dns, which listens at a port that a
// policy of the chart closes to everybody. The agent connects to DNS, which must be possible, and to the closed port, which
// must not be. That is asked once per host and replica and holds for all virtual clusters; the answer is asked for again
// rarely. What it cannot see: whether a policy holds on every node, and for egress; it says what it has tried. Invariants: "false"
// is said only after a connection that a policy forbids has come about; nothing is said when the way itself is broken.
package networkisolation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Names of the ports of matryd dns in its pods.
const (
	openPort   = "dns-tcp"
	closedPort = "closed"
)

const (
	// again is how often is asked when there is an answer, and soon when there is none.
	again = 10 * time.Minute
	soon  = 10 * time.Second
	// patience with a connection: a policy that drops says nothing.
	patience = 3 * time.Second
	// most pods are tried at a time of asking.
	most = 3
)

// Reasons of the condition.
const (
	ReasonEnforced    = "Enforced"
	ReasonNotEnforced = "NotEnforced"
	ReasonNotProbed   = "NotProbed"
)

// Answer is what is known, as a condition says it.
type Answer struct {
	Status          metav1.ConditionStatus
	Reason, Message string
}

var notProbed = Answer{
	Status: metav1.ConditionUnknown, Reason: ReasonNotProbed,
	Message: "Whether the host enforces NetworkPolicies has not been found out yet",
}

// Prober asks. It is a manager.Runnable.
type Prober struct {
	// Host reads the pods of matryd dns. Required.
	Host client.Reader
	// Namespace and Labels of these. Required.
	Namespace string
	Labels    map[string]string
	// Log is required.
	Log *slog.Logger
	// Dial is net.Dialer.DialContext but in tests.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	answer atomic.Pointer[Answer]
}

// Answer is the last one.
func (p *Prober) Answer() Answer {
	if known := p.answer.Load(); known != nil {
		return *known
	}
	return notProbed
}

// NeedLeaderElection tells the manager that every replica asks for itself.
func (p *Prober) NeedLeaderElection() bool { return false }

// Start asks until the context ends.
func (p *Prober) Start(ctx context.Context) error {
	for {
		answer := p.probe(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // to be told to end is no failure
		}
		if before := p.Answer(); before.Status != answer.Status {
			p.Log.Info("Enforcement of NetworkPolicies", "status", answer.Status, "message", answer.Message)
		}
		p.answer.Store(&answer)
		wait := again
		if answer.Status == metav1.ConditionUnknown {
			wait = soon
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// probe tries some pods. One way that is open although it must be closed is enough to say so.
func (p *Prober) probe(ctx context.Context) Answer {
	var pods corev1.PodList
	if err := p.Host.List(ctx, &pods, client.InNamespace(p.Namespace), client.MatchingLabels(p.Labels)); err != nil {
		return unknown(fmt.Sprintf("the pods of matryd dns cannot be listed: %v", err))
	}
	tried, problem := 0, "no pod of matryd dns is ready"
	for i := range pods.Items {
		target, ok := targetOf(&pods.Items[i])
		if !ok || tried == most {
			continue
		}
		if err := p.connect(ctx, target.open); err != nil {
			problem = fmt.Sprintf("the agent does not reach matryd dns: %v", err)
			continue
		}
		err := p.connect(ctx, target.closed)
		if err == nil {
			return Answer{
				Status: metav1.ConditionFalse, Reason: ReasonNotEnforced,
				Message: "The host lets connections through that a NetworkPolicy forbids: virtual clusters reach each other and the host. " +
					"Its operator has to install a network plugin that enforces NetworkPolicies",
			}
		}
		if !isClosed(err) {
			problem = fmt.Sprintf("what a connection that is forbidden ended with says nothing: %v", err)
			continue
		}
		tried++
	}
	if tried == 0 {
		return unknown(problem)
	}
	return Answer{
		Status: metav1.ConditionTrue, Reason: ReasonEnforced,
		Message: fmt.Sprintf("Connections from the agent to %d pods of matryd dns were refused where a NetworkPolicy forbids them, and came about where none does", tried),
	}
}

func unknown(problem string) Answer {
	return Answer{
		Status: metav1.ConditionUnknown, Reason: ReasonNotProbed,
		Message: "Whether the host enforces NetworkPolicies could not be found out: " + problem,
	}
}

type target struct{ open, closed string }

// targetOf tells where to connect; a pod of another release, without the closed port, or one that is not ready, is none.
func targetOf(hostPod *corev1.Pod) (target, bool) {
	if hostPod.Status.PodIP == "" || !isReady(hostPod) {
		return target{}, false
	}
	ports := map[string]int32{}
	for _, container := range hostPod.Spec.Containers {
		for _, port := range container.Ports {
			ports[port.Name] = port.ContainerPort
		}
	}
	if ports[openPort] == 0 || ports[closedPort] == 0 {
		return target{}, false
	}
	address := func(port int32) string { return net.JoinHostPort(hostPod.Status.PodIP, fmt.Sprint(port)) }
	return target{open: address(ports[openPort]), closed: address(ports[closedPort])}, true
}

func isReady(hostPod *corev1.Pod) bool {
	for _, condition := range hostPod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (p *Prober) connect(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dial := p.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	connection, err := dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return connection.Close()
}

// isClosed tells whether an error is what a policy makes of a connection: silence, a reset, or an answer that it is prohibited.
func isClosed(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout() ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENETUNREACH)
}
