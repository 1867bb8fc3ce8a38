package measure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/internal/image"
	"github.com/matryoshka-dev/matryoshka/internal/version"
	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
	"github.com/matryoshka-dev/matryoshka/test/bench/simulated"
)

// newPod is a pod that does nothing.
func newPod(name string, hasToken bool) *corev1.Pod {
	grace := int64(1)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken:  &hasToken,
			TerminationGracePeriodSeconds: &grace,
			Containers:                    []corev1.Container{{Name: "pause", Image: image.Reference("pause", version.Version)}},
		},
	}
}

// podLoad is pods that are created in one namespace.
type podLoad struct {
	count int
	// perSecond is how many are created in a second; 0 means as fast as the clients can.
	perSecond           float64
	isSimulated, tokens bool
}

// burstClients create pods side by side in a burst.
const burstClients = 10

// sides are where pods are created and where they are to be seen. For the floor both are the host.
type sides struct {
	virtualClient, hostClient       kubernetes.Interface
	virtualNamespace, hostNamespace string
}

// podTimes is what was seen of the pods.
type podTimes struct{ created, hostSeen, hostBound, hostReady, virtualReady *lab.Ledger }

func newPodTimes() podTimes {
	return podTimes{
		created: lab.NewLedger("the call"), hostSeen: lab.NewLedger("the host pod"),
		hostBound: lab.NewLedger("the host pod's node"), hostReady: lab.NewLedger("the Ready host pod"), virtualReady: lab.NewLedger("the Ready pod in the tenant"),
	}
}

// run creates the pods and returns when all are Ready in the tenant.
func (l podLoad) run(ctx context.Context, between sides) (times podTimes, err error) {
	times = newPodTimes()
	watching, ctx := lab.NewWatching(ctx)
	defer watching.Stop()
	if err := times.follow(ctx, watching, between); err != nil {
		return times, err
	}
	if err := l.create(ctx, between, times.created); err != nil {
		return times, err
	}
	for _, ledger := range []*lab.Ledger{times.hostReady, times.virtualReady} {
		if err := ledger.WaitForCount(ctx, l.count); err != nil {
			return times, err
		}
	}
	return times, nil
}

func (p podTimes) follow(ctx context.Context, watching *lab.Watching, between sides) error {
	err := watching.Add(ctx, lab.Pods(between.hostClient, between.hostNamespace, ""), func(_ watch.EventType, object runtime.Object, at time.Time) {
		hostPod, ok := object.(*corev1.Pod)
		if !ok {
			return
		}
		p.hostSeen.Mark(hostPod.Name, at)
		if hostPod.Spec.NodeName != "" {
			p.hostBound.Mark(hostPod.Name, at)
		}
		if isReady(hostPod) {
			p.hostReady.Mark(hostPod.Name, at)
		}
	})
	if err != nil {
		return err
	}
	return followReady(ctx, watching, between.virtualClient, between.virtualNamespace, p.virtualReady)
}

// followReady enters the pods of a namespace when they become Ready.
func followReady(ctx context.Context, watching *lab.Watching, side kubernetes.Interface, namespace string, ready *lab.Ledger) error {
	return watching.Add(ctx, lab.Pods(side, namespace, ""), func(_ watch.EventType, object runtime.Object, at time.Time) {
		if virtualPod, ok := object.(*corev1.Pod); ok && isReady(virtualPod) {
			ready.Mark(virtualPod.Name, at)
		}
	})
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (l podLoad) create(ctx context.Context, between sides, created *lab.Ledger) error {
	group, ctx := errgroup.WithContext(ctx)
	if l.perSecond == 0 {
		group.SetLimit(burstClients)
	}
	err := paced(ctx, l.count, l.perSecond, func(number int) {
		group.Go(func() error {
			name := fmt.Sprintf("pod-%d", number)
			created.Mark(name, time.Now())
			return l.createOne(ctx, between.virtualClient, between.virtualNamespace, name)
		})
	})
	return errors.Join(err, group.Wait())
}

func (l podLoad) createOne(ctx context.Context, side kubernetes.Interface, namespace, name string) error {
	pod := newPod(name, l.tokens)
	if l.isSimulated {
		simulated.Place(&pod.Spec)
	}
	if _, err := side.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create pod %q: %w", name, err)
	}
	return nil
}

// paced calls do so many times, at a rate per second or, with 0, one after the other without a pause.
func paced(ctx context.Context, count int, perSecond float64, do func(number int)) error {
	if perSecond == 0 {
		for number := range count {
			do(number)
		}
		return nil
	}
	tick := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
	defer tick.Stop()
	for number := range count {
		do(number)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
