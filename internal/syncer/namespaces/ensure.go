package namespaces

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/fence"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostranges"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// ErrTerminating says that the host namespace is still being deleted; it can be made again when it is gone.
var ErrTerminating = errors.New("the host namespace is still being deleted; try again later")

// ErrForeign says that a host namespace of this name exists and is not this tenant's; it is never adopted.
var ErrForeign = errors.New("a host namespace of this name exists that does not belong to this virtual cluster")

// Options of an Ensurer.
type Options struct {
	// Agent is who is given the rights of ClusterRole AgentRole in every mapped namespace. The zero value is
	// ServiceAccount matryoshka-system/matryoshka-agent.
	Agent rbacv1.Subject
	// SystemNamespace is where the agent and the DNS run. "" means matryoshka-system.
	SystemNamespace string
	// Ranges tells the addresses of the host. Nil means one that asks the host by hostClient.
	Ranges *hostranges.Source
	// MaxNamespaces is how many mapped namespaces one tenant may have. 0 means any number.
	MaxNamespaces int
	// InPlace brings a namespace into the quotas of the account whose label it has, before anything enters it. Nil means that
	// there are none.
	InPlace func(ctx context.Context, hostNamespace *corev1.Namespace) error
}

// AgentRole is the ClusterRole that the agent has in each mapped namespace and nowhere else as a whole.
const AgentRole = "matryoshka-agent-tenant"

// CustomResourcesRole is the ClusterRole that the agent has besides in the mapped namespaces of tenants that have custom
// resources. What is in it is for whoever runs the host to say; it is empty until then.
const CustomResourcesRole = "matryoshka-agent-custom-resources"

// WorkloadAccount is the host ServiceAccount, without rights and without token, of every pod in a mapped namespace.
const WorkloadAccount = mapping.ReservedPrefix + "workload"

// Ensurer makes mapped namespaces. It is safe for concurrent use and remembers what is complete.
type Ensurer struct {
	hostClient client.Client
	options    Options

	mu       sync.Mutex
	complete map[string]look    // protected by mu; by host namespace
	making   map[string]*making // protected by mu; host namespaces that somebody is making now
	full     map[types.UID]full // protected by mu; tenants that lately had as many as they may
}

// making is one call that makes a host namespace, and those that wait for it.
type making struct {
	done *sync.Cond
	// outdated: the namespace was forgotten after the call began. What it saw may have been before the change that it was
	// forgotten for, so it must not count as complete.
	outdated bool
}

// look is what decides how a tenant's namespaces look.
type look struct {
	uid         string
	podSecurity clusterv1alpha1.PodSecurityLevel
	// hasCustomResources is whether the agent needs its rights to custom resources there.
	hasCustomResources bool
	// account that they belong to, or "".
	account string
	// ranges are the host's addresses that are fenced off; nil means no fence.
	ranges *hostranges.Ranges
}

func (e *Ensurer) lookOf(ctx context.Context, tenant tenants.Tenant) (look, error) {
	level := tenant.Spec.PodSecurity
	if level == "" {
		level = clusterv1alpha1.PodSecurityBaseline
	}
	wanted := look{uid: string(tenant.UID), podSecurity: level, hasCustomResources: len(tenant.Spec.Sync.CustomResources) > 0, account: tenant.Account.Name()}
	if tenant.Spec.Network.Isolation != nil && !*tenant.Spec.Network.Isolation {
		return wanted, nil
	}
	var err error
	wanted.ranges, err = e.options.Ranges.Current(ctx)
	return wanted, err
}

// New makes an Ensurer. hostClient reads and writes the host's API server directly.
func New(hostClient client.Client, options Options) *Ensurer {
	if options.SystemNamespace == "" {
		options.SystemNamespace = "matryoshka-system"
	}
	if options.Agent.Name == "" {
		options.Agent = rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: options.SystemNamespace, Name: "matryoshka-agent"}
	}
	if options.Ranges == nil {
		options.Ranges = hostranges.NewSource(hostClient, nil)
	}
	return &Ensurer{hostClient: hostClient, options: options, complete: map[string]look{}, making: map[string]*making{}, full: map[types.UID]full{}}
}

// Ensure makes the mapped namespace of a tenant namespace complete and returns its name. It asks the host only the
// first time, and again after Forget or when the tenant's spec or the host's addresses have changed. Calls for one namespace wait for each other.
func (e *Ensurer) Ensure(ctx context.Context, tenant tenants.Tenant, tenantNamespace string) (string, error) {
	name := mapping.HostNamespace(tenant.ID, tenantNamespace)
	wanted, err := e.lookOf(ctx, tenant)
	if err != nil {
		return "", fmt.Errorf("ensure host namespace %q: %w", name, err)
	}
	if !e.begin(name, wanted) {
		return name, nil
	}
	err = e.make(ctx, tenant, tenantNamespace, name, wanted)
	e.end(name, wanted, err)
	if err != nil {
		return "", fmt.Errorf("ensure host namespace %q: %w", name, err)
	}
	return name, nil
}

// Forget drops what is remembered of a host namespace, so that the next Ensure looks again.
func (e *Ensurer) Forget(hostNamespace string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.complete, hostNamespace)
	if busy, ok := e.making[hostNamespace]; ok {
		busy.outdated = true
	}
}

// ForgetTenant drops what is remembered of all host namespaces of a tenant: others may have changed them unseen.
func (e *Ensurer) ForgetTenant(tenant types.UID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.DeleteFunc(e.complete, func(_ string, have look) bool { return have.uid == string(tenant) })
	for _, busy := range e.making {
		busy.outdated = true // whoever's it is, looking once more does no harm
	}
}

// begin returns false when the namespace is known to be complete; after true the caller must call end.
func (e *Ensurer) begin(name string, wanted look) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		if have, ok := e.complete[name]; ok && have == wanted {
			return false
		}
		busy, ok := e.making[name]
		if !ok {
			e.making[name] = &making{done: sync.NewCond(&e.mu)}
			return true
		}
		busy.done.Wait()
	}
}

func (e *Ensurer) end(name string, made look, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	busy := e.making[name]
	if err == nil && !busy.outdated {
		e.complete[name] = made
	}
	delete(e.making, name)
	busy.done.Broadcast()
}

func (e *Ensurer) make(ctx context.Context, tenant tenants.Tenant, tenantNamespace, name string, wanted look) error {
	if tenant.Terminating {
		return errors.New("the virtual cluster is being deleted")
	}
	hostNamespace, err := e.makeNamespace(ctx, tenant, tenantNamespace, name, wanted)
	if err != nil {
		return err
	}
	if e.options.InPlace != nil {
		if err := e.options.InPlace(ctx, hostNamespace); err != nil {
			return err
		}
	}
	// The binding comes first: with it the agent may write the rest.
	if err := e.makeBinding(ctx, tenant, tenantNamespace, name, AgentRole, "matryoshka-agent"); err != nil {
		return err
	}
	if wanted.hasCustomResources {
		if err := e.makeBinding(ctx, tenant, tenantNamespace, name, CustomResourcesRole, CustomResourcesRole); err != nil {
			return err
		}
	}
	if err := e.whenBound(ctx, func() error { return e.makeAccount(ctx, tenant, tenantNamespace, name) }); err != nil {
		return err
	}
	return e.makePolicies(ctx, tenant, tenantNamespace, name, wanted)
}

// How long, and how often, a write is tried that needs the binding.
const (
	bindingTakes = 5 * time.Second
	bindingTry   = 20 * time.Millisecond
)

// whenBound does the first write that needs the binding. The host's authorizer sees a new binding only a moment after it
// was written, and until then it forbids.
func (e *Ensurer) whenBound(ctx context.Context, write func() error) error {
	ctx, cancel := context.WithTimeout(ctx, bindingTakes)
	defer cancel()
	tick := time.NewTicker(bindingTry)
	defer tick.Stop()
	for {
		err := write()
		if !apierrors.IsForbidden(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

func ownerLabels(tenant tenants.Tenant, tenantNamespace string) map[string]string {
	return map[string]string{
		mapping.LabelID:              tenant.ID,
		mapping.LabelUID:             string(tenant.UID),
		mapping.LabelName:            tenant.Name,
		mapping.LabelNamespace:       tenant.Namespace,
		mapping.LabelTenantNamespace: tenantNamespace,
	}
}

func (e *Ensurer) makeNamespace(ctx context.Context, tenant tenants.Tenant, tenantNamespace, name string, wanted look) (*corev1.Namespace, error) {
	desired := ownerLabels(tenant, tenantNamespace)
	desired[mapping.LabelKind] = mapping.KindMapped
	desired["pod-security.kubernetes.io/enforce"] = string(wanted.podSecurity)
	desired["pod-security.kubernetes.io/enforce-version"] = "latest"

	if err := e.admit(ctx, tenant, name); err != nil {
		return nil, err
	}
	hostNamespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: desired}}
	// From its first moment, so that nothing of it is judged without them. Later the account's own controller keeps them.
	if tenant.Account != nil {
		tenant.Account.Put(&hostNamespace.ObjectMeta)
	}
	err := e.hostClient.Create(ctx, hostNamespace)
	if err == nil {
		return hostNamespace, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("create: %w", err)
	}
	if err := e.hostClient.Get(ctx, client.ObjectKey{Name: name}, hostNamespace); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if hostNamespace.Labels[mapping.LabelUID] != string(tenant.UID) || hostNamespace.Labels[mapping.LabelKind] != mapping.KindMapped {
		return nil, ErrForeign
	}
	if hostNamespace.DeletionTimestamp != nil {
		return nil, ErrTerminating
	}
	updated := hostNamespace.DeepCopy()
	maps.Copy(updated.Labels, desired)
	if tenant.Account != nil && !tenant.Account.HasPlace(&updated.ObjectMeta) {
		tenant.Account.Put(&updated.ObjectMeta)
	}
	if equality.Semantic.DeepEqual(updated.ObjectMeta, hostNamespace.ObjectMeta) {
		return hostNamespace, nil
	}
	if err := e.hostClient.Patch(ctx, updated, client.MergeFromWithOptions(hostNamespace, client.MergeFromWithOptimisticLock{})); err != nil {
		return nil, fmt.Errorf("patch labels and annotations: %w", err)
	}
	return updated, nil
}

func (e *Ensurer) makeBinding(ctx context.Context, tenant tenants.Tenant, tenantNamespace, name, role, binding string) error {
	desired := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: binding, Labels: ownerLabels(tenant, tenantNamespace)},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{e.options.Agent},
	}
	existing := &rbacv1.RoleBinding{}
	return e.write(ctx, desired, existing, func() bool {
		same := equality.Semantic.DeepEqual(existing.Subjects, desired.Subjects) && maps.Equal(existing.Labels, desired.Labels)
		existing.Subjects, existing.Labels = desired.Subjects, desired.Labels
		return same
	})
}

// makeAccount makes the ServiceAccount of the tenant's pods. The host's "default" would come some time after the
// namespace, pods would be refused until then, and what a host adds to it (pull secrets) is not for tenants.
func (e *Ensurer) makeAccount(ctx context.Context, tenant tenants.Tenant, tenantNamespace, name string) error {
	noToken := false
	desired := &corev1.ServiceAccount{
		ObjectMeta:                   metav1.ObjectMeta{Namespace: name, Name: WorkloadAccount, Labels: ownerLabels(tenant, tenantNamespace)},
		AutomountServiceAccountToken: &noToken,
	}
	existing := &corev1.ServiceAccount{}
	return e.write(ctx, desired, existing, func() bool {
		same := equality.Semantic.DeepEqual(existing.AutomountServiceAccountToken, &noToken) && maps.Equal(existing.Labels, desired.Labels)
		existing.AutomountServiceAccountToken, existing.Labels = &noToken, desired.Labels
		return same
	})
}

// makePolicies makes the fence, or takes it down. Its policies are independent of each other, so their order does not
// matter: what one of them lets through, the whole fence does.
func (e *Ensurer) makePolicies(ctx context.Context, tenant tenants.Tenant, tenantNamespace, name string, wanted look) error {
	if wanted.ranges == nil {
		return e.removePolicies(ctx, name)
	}
	policies := fence.Fence{Tenant: tenant.UID, SystemNamespace: e.options.SystemNamespace, Ranges: wanted.ranges}.Policies()
	errs := make([]error, len(policies))
	var group sync.WaitGroup
	for index, desired := range policies {
		desired.Namespace, desired.Labels = name, ownerLabels(tenant, tenantNamespace)
		existing := &networkingv1.NetworkPolicy{}
		group.Go(func() {
			errs[index] = e.write(ctx, desired, existing, func() bool {
				same := equality.Semantic.DeepEqual(existing.Spec, desired.Spec) && maps.Equal(existing.Labels, desired.Labels)
				existing.Spec, existing.Labels = desired.Spec, desired.Labels
				return same
			})
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (e *Ensurer) removePolicies(ctx context.Context, hostNamespace string) error {
	for _, name := range fence.PolicyNames() {
		policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: name}}
		if err := client.IgnoreNotFound(e.hostClient.Delete(ctx, policy)); err != nil {
			return fmt.Errorf("delete network policy %q: %w", name, err)
		}
	}
	return nil
}

// write creates desired, or reads what exists into existing and updates it unless match says that it is right.
// match brings existing to what is desired.
func (e *Ensurer) write(ctx context.Context, desired, existing client.Object, match func() bool) error {
	err := e.hostClient.Create(ctx, desired)
	if err == nil {
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create %T %q: %w", desired, desired.GetName(), err)
	}
	if err := e.hostClient.Get(ctx, client.ObjectKeyFromObject(desired), existing); err != nil {
		return fmt.Errorf("get %T %q: %w", desired, desired.GetName(), err)
	}
	if match() {
		return nil
	}
	if err := e.hostClient.Update(ctx, existing); err != nil {
		return fmt.Errorf("update %T %q: %w", desired, desired.GetName(), err)
	}
	return nil
}
