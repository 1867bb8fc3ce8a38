package networkpolicy

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/knftables"
)

const (
	// settle lets changes that come together become one transaction.
	settle = 20 * time.Millisecond
	// retry after the kernel has refused the rules.
	retry = time.Second
	// repair replaces the rules even when nothing has changed, in case somebody else has removed them.
	repair = 5 * time.Minute
)

// Controller keeps the kernel's rules current.
type Controller struct {
	nft        knftables.Interface
	extra      []Pod
	logger     *slog.Logger
	factory    informers.SharedInformerFactory
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	policies   networkinglisters.NetworkPolicyLister
	changed    chan struct{}
	current    *Ruleset
	fences     *fences
}

// New returns a controller for the network namespace of the calling process. The extra pods are servers of the host
// itself that policies should be able to select, such as cluster DNS.
func New(client kubernetes.Interface, extra []Pod, logger *slog.Logger) (*Controller, error) {
	nft, err := knftables.New(knftables.IPv4Family, tableName)
	if err != nil {
		return nil, fmt.Errorf("use nftables for network policies: %w", err)
	}
	return newController(client, nft, extra, logger)
}

func newController(client kubernetes.Interface, nft knftables.Interface, extra []Pod, logger *slog.Logger) (*Controller, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(strip))
	c := &Controller{
		nft: nft, extra: extra, logger: logger, factory: factory,
		pods:       factory.Core().V1().Pods().Lister(),
		namespaces: factory.Core().V1().Namespaces().Lister(),
		policies:   factory.Networking().V1().NetworkPolicies().Lister(),
		changed:    make(chan struct{}, 1),
		fences:     newFences(),
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { c.trigger() },
		UpdateFunc: c.updated,
		DeleteFunc: func(any) { c.trigger() },
	}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().Pods().Informer(),
		factory.Core().V1().Namespaces().Informer(),
		factory.Networking().V1().NetworkPolicies().Informer(),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, fmt.Errorf("watch for network policies: %w", err)
		}
	}
	return c, nil
}

// strip keeps of a pod what rules follow from: the cache holds every pod of the host.
func strip(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		if accessor, ok := object.(metav1.ObjectMetaAccessor); ok {
			accessor.GetObjectMeta().SetManagedFields(nil)
		}
		return object, nil
	}
	kept := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, Labels: pod.Labels, ResourceVersion: pod.ResourceVersion,
		},
		Spec:   corev1.PodSpec{HostNetwork: pod.Spec.HostNetwork},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, PodIP: pod.Status.PodIP},
	}
	for _, container := range append(pod.Spec.InitContainers[:len(pod.Spec.InitContainers):len(pod.Spec.InitContainers)], pod.Spec.Containers...) {
		if len(container.Ports) > 0 {
			kept.Spec.Containers = append(kept.Spec.Containers, corev1.Container{Ports: container.Ports})
		}
	}
	return kept, nil
}

// updated ignores what no rule depends on: most changes of a pod are of its status.
func (c *Controller) updated(before, after any) {
	old, wasPod := before.(*corev1.Pod)
	current, isPod := after.(*corev1.Pod)
	if wasPod && isPod && reflect.DeepEqual(old.Status, current.Status) && reflect.DeepEqual(old.Labels, current.Labels) {
		return
	}
	c.trigger()
}

func (c *Controller) trigger() {
	select {
	case c.changed <- struct{}{}:
	default: // One is waiting already, and will see this change too.
	}
}

// Run enforces policies until ctx ends. The rules stay in the kernel: pods go on without this process.
func (c *Controller) Run(ctx context.Context) error {
	c.factory.Start(ctx.Done())
	defer c.factory.Shutdown()
	for kind, synced := range c.factory.WaitForCacheSync(ctx.Done()) {
		if !synced && ctx.Err() == nil {
			return fmt.Errorf("list %s for network policies", kind)
		}
	}
	c.trigger()
	ticker := time.NewTicker(repair)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			c.current = nil
		case <-c.changed:
		}
		begin := time.Now()
		err := c.sync(ctx)
		// Not more than half of a processor, however large the rules are.
		wait := max(settle, time.Since(begin))
		if err != nil && ctx.Err() == nil {
			c.logger.Error("Could not enforce network policies", "error", err)
			c.current = nil
			wait = retry
			c.trigger()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (c *Controller) sync(ctx context.Context) error {
	state, addresses, err := c.state()
	if err != nil {
		return err
	}
	rules := Compile(state)
	if c.current == nil || !reflect.DeepEqual(*c.current, rules) {
		tx := c.nft.NewTransaction()
		render(c.current, rules, tx)
		if err := c.nft.Run(ctx, tx); err != nil {
			return fmt.Errorf("replace the rules of network policies: %w", err)
		}
		c.current = &rules
	}
	c.fences.enforce(addresses)
	return nil
}

// state returns what the rules follow from, and the addresses of all pods in it.
func (c *Controller) state() (State, map[types.UID]netip.Addr, error) {
	state := State{Namespaces: map[string]map[string]string{}, Pods: append([]Pod(nil), c.extra...)}
	namespaces, err := c.namespaces.List(labels.Everything())
	if err != nil {
		return state, nil, fmt.Errorf("list namespaces: %w", err)
	}
	for _, namespace := range namespaces {
		state.Namespaces[namespace.Name] = namespace.Labels
	}
	pods, err := c.pods.List(labels.Everything())
	if err != nil {
		return state, nil, fmt.Errorf("list pods: %w", err)
	}
	addresses := c.fences.addresses(pods)
	for _, pod := range pods {
		if taken, ok := podAt(pod, addresses[pod.UID]); ok {
			state.Pods = append(state.Pods, taken)
		}
	}
	state.Policies, err = c.policies.List(labels.Everything())
	if err != nil {
		return state, nil, fmt.Errorf("list network policies: %w", err)
	}
	return state, addresses, nil
}
