package networkisolation

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pods is a host that has these, or an error.
type pods struct {
	client.Reader
	list []corev1.Pod
	err  error
}

func (p *pods) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	found, ok := list.(*corev1.PodList)
	if !ok {
		return errors.New("no list of pods")
	}
	found.Items = p.list
	return p.err
}

func dnsPod(ip string, ready corev1.ConditionStatus, ports ...corev1.ContainerPort) corev1.Pod {
	return corev1.Pod{
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Ports: ports}}},
		Status: corev1.PodStatus{PodIP: ip, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
	}
}

func TestProbe(t *testing.T) {
	open, closed := corev1.ContainerPort{Name: openPort, ContainerPort: 53}, corev1.ContainerPort{Name: closedPort, ContainerPort: 9}
	ready := func(ip string) corev1.Pod { return dnsPod(ip, corev1.ConditionTrue, open, closed) }
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	odd := errors.New("odd")
	for name, test := range map[string]struct {
		host *pods
		// ways are how connections end; those that are missing come about.
		ways map[string]error
		want metav1.ConditionStatus
		says string
	}{
		"enforced by a reset":       {&pods{list: []corev1.Pod{ready("a")}}, map[string]error{"a:9": refused}, metav1.ConditionTrue, "1 pods"},
		"enforced by silence":       {&pods{list: []corev1.Pod{ready("a"), ready("b")}}, map[string]error{"a:9": os.ErrDeadlineExceeded, "b:9": refused}, metav1.ConditionTrue, "2 pods"},
		"not enforced":              {&pods{list: []corev1.Pod{ready("a")}}, nil, metav1.ConditionFalse, "network plugin"},
		"not enforced on one":       {&pods{list: []corev1.Pod{ready("a"), ready("b")}}, map[string]error{"a:9": refused}, metav1.ConditionFalse, "network plugin"},
		"the way is broken":         {&pods{list: []corev1.Pod{ready("a")}}, map[string]error{"a:53": refused, "a:9": refused}, metav1.ConditionUnknown, "does not reach"},
		"one way is broken":         {&pods{list: []corev1.Pod{ready("a"), ready("b")}}, map[string]error{"a:53": refused, "a:9": refused, "b:9": refused}, metav1.ConditionTrue, "1 pods"},
		"another error":             {&pods{list: []corev1.Pod{ready("a")}}, map[string]error{"a:9": odd}, metav1.ConditionUnknown, "odd"},
		"no pods":                   {&pods{}, nil, metav1.ConditionUnknown, "no pod"},
		"not ready":                 {&pods{list: []corev1.Pod{dnsPod("a", corev1.ConditionFalse, open, closed)}}, nil, metav1.ConditionUnknown, "no pod"},
		"a pod of an older release": {&pods{list: []corev1.Pod{dnsPod("a", corev1.ConditionTrue, open)}}, nil, metav1.ConditionUnknown, "no pod"},
		"no right":                  {&pods{err: odd}, nil, metav1.ConditionUnknown, "odd"},
	} {
		t.Run(name, func(t *testing.T) {
			prober := &Prober{Host: test.host, Log: slog.New(slog.DiscardHandler), Dial: func(_ context.Context, _, address string) (net.Conn, error) {
				if err := test.ways[address]; err != nil {
					return nil, err
				}
				one, other := net.Pipe()
				other.Close()
				return one, nil
			}}
			if got := prober.Answer(); got.Status != metav1.ConditionUnknown {
				t.Errorf("before it was probed: %+v", got)
			}
			got := prober.probe(t.Context())
			if got.Status != test.want || !strings.Contains(got.Message, test.says) {
				t.Errorf("got %+v, want %s with %q", got, test.want, test.says)
			}
		})
	}
}

// TestStartTellsAndEnds: the first answer is there soon, and the end of the context ends it.
func TestStartTellsAndEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	open, closed := corev1.ContainerPort{Name: openPort, ContainerPort: 53}, corev1.ContainerPort{Name: closedPort, ContainerPort: 9}
	asked := make(chan struct{}, 2)
	prober := &Prober{
		Host: &pods{list: []corev1.Pod{dnsPod("a", corev1.ConditionTrue, open, closed)}}, Log: slog.New(slog.DiscardHandler),
		Dial: func(context.Context, string, string) (net.Conn, error) {
			asked <- struct{}{}
			one, other := net.Pipe()
			other.Close()
			return one, nil
		},
	}
	ended := make(chan error)
	go func() { ended <- prober.Start(ctx) }()
	<-asked
	<-asked
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
