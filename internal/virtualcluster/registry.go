package virtualcluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// registrar keeps tenants.Registry in step with the VirtualCluster objects. It runs on every replica of the agent,
// since every replica serves the doors, and writes nothing.
type registrar struct {
	options     *Options
	host        client.Client
	cached      client.Reader
	connections *connections
}

// Reconcile enters one virtual cluster, or strikes it out.
func (r *registrar) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var vc clusterv1alpha1.VirtualCluster
	err := r.cached.Get(ctx, request.NamespacedName, &vc)
	if apierrors.IsNotFound(err) {
		r.strikeOthers(request.NamespacedName, "")
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	r.strikeOthers(request.NamespacedName, string(vc.UID))
	if apimeta.FindStatusCondition(vc.Status.Conditions, clusterv1alpha1.ConditionControlPlaneReady) == nil || vc.Status.ID == "" {
		return reconcile.Result{}, nil // nothing is made yet; the condition comes as an event
	}
	tenant, err := r.tenant(ctx, &vc)
	if err != nil {
		return r.later(&vc, err)
	}
	if known, ok := r.options.Registry.ByUID(vc.UID); ok && isSame(known, tenant) {
		return reconcile.Result{RequeueAfter: resyncPeriod}, nil
	}
	if !r.options.Registry.Advance(tenant) {
		return reconcile.Result{RequeueAfter: 100 * time.Millisecond}, nil // the cache is behind
	}
	return reconcile.Result{RequeueAfter: resyncPeriod}, nil
}

// later tries again: quietly while the control plane is being made, with back-off otherwise. A virtual cluster that is
// going away has lost its Secrets already and needs no entry.
func (r *registrar) later(vc *clusterv1alpha1.VirtualCluster, err error) (reconcile.Result, error) {
	if !vc.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, nil
	}
	if !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return reconcile.Result{}, err
	}
	if r.options.Clock.Since(vc.CreationTimestamp.Time) < time.Minute {
		return reconcile.Result{RequeueAfter: 100 * time.Millisecond}, nil
	}
	return reconcile.Result{RequeueAfter: time.Second}, nil
}

func (r *registrar) tenant(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (tenants.Tenant, error) {
	connection, err := r.connection(ctx, vc)
	if err != nil {
		return tenants.Tenant{}, err
	}
	account, err := r.account(ctx, vc)
	if err != nil {
		return tenants.Tenant{}, err
	}
	isTerminating := !vc.DeletionTimestamp.IsZero()
	return tenants.Tenant{
		ID:                 vc.Status.ID,
		UID:                vc.UID,
		Namespace:          vc.Namespace,
		Name:               vc.Name,
		Spec:               *vc.Spec.DeepCopy(),
		Account:            account,
		ServiceAddress:     connection.address,
		VirtualConfig:      connection.config,
		RootCA:             connection.rootCA,
		TokenKeyID:         connection.tokenKeyID,
		KubeletCertificate: connection.kubelets.Certificate,
		Ready:              !isTerminating && !vc.Status.Sleep.IsAsleep() && apimeta.IsStatusConditionTrue(vc.Status.Conditions, clusterv1alpha1.ConditionControlPlaneReady),
		Asleep:             vc.Status.Sleep.IsAsleep(),
		Waking:             vc.Status.Sleep.Phase == tenancyv1alpha1.PhaseWaking,
		SleepEpoch:         vc.Status.Sleep.Epoch,
		Terminating:        isTerminating,
	}, nil
}

// connection reads the tenant's authorities and the address of its control plane. While it goes away the last known
// connection has to do.
func (r *registrar) connection(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (*connection, error) {
	if known, ok := r.connections.known(vc.UID); ok && !vc.DeletionTimestamp.IsZero() {
		return known, nil
	}
	namespace := mapping.ControlNamespace(vc.Status.ID)
	var service corev1.Service
	// Read directly: a cache that is behind would bring an old address back.
	if err := r.host.Get(ctx, client.ObjectKey{Namespace: namespace, Name: serviceName}, &service); err != nil {
		return nil, fmt.Errorf("get Service %q: %w", namespace+"/"+serviceName, err)
	}
	// The ID stands in a status; whoever may write that must not get at another's control plane by it.
	if service.Labels[mapping.LabelUID] != string(vc.UID) {
		return nil, fmt.Errorf("the Service %q is not this virtual cluster's: its label %s is %q, not %q",
			namespace+"/"+serviceName, mapping.LabelUID, service.Labels[mapping.LabelUID], vc.UID)
	}
	var secret corev1.Secret
	if err := r.host.Get(ctx, client.ObjectKey{Namespace: namespace, Name: agentPKISecretName}, &secret); err != nil {
		return nil, fmt.Errorf("get Secret %q: %w", namespace+"/"+agentPKISecretName, err)
	}
	authorities, err := pki.ParseTenant(secret.Data)
	if err != nil {
		return nil, fmt.Errorf("read Secret %q: %w", namespace+"/"+agentPKISecretName, err)
	}
	return r.connections.get(vc.UID, authorities, service.Spec.ClusterIP)
}

// strikeOthers removes the entries of this name that are not of this UID: the object is gone, or another one has
// taken its name.
func (r *registrar) strikeOthers(key client.ObjectKey, uid string) {
	for _, tenant := range r.options.Registry.List() {
		if tenant.Namespace == key.Namespace && tenant.Name == key.Name && string(tenant.UID) != uid {
			r.options.Registry.Delete(tenant.UID)
			r.connections.forget(tenant.UID)
		}
	}
}

// KnowsAll tells whether every virtual cluster that has a control plane is in the registry. Until then the doors would
// tell a tenant that it does not exist. reader is a manager's cache.
func KnowsAll(ctx context.Context, reader client.Reader, registry *tenants.Registry) (bool, error) {
	var list clusterv1alpha1.VirtualClusterList
	if err := reader.List(ctx, &list); err != nil {
		return false, fmt.Errorf("list the virtual clusters: %w", err)
	}
	for _, vc := range list.Items {
		_, isKnown := registry.ByUID(vc.UID)
		// One that sleeps is as good as ready: a connection to it wakes it.
		isServed := apimeta.IsStatusConditionTrue(vc.Status.Conditions, clusterv1alpha1.ConditionControlPlaneReady) || vc.Status.Sleep.IsAsleep()
		if !isKnown && vc.DeletionTimestamp.IsZero() && isServed {
			return false, nil
		}
	}
	return true, nil
}

// isSame tells whether nothing has changed for those who read the registry.
func isSame(a, b tenants.Tenant) bool {
	return a.ID == b.ID && a.ServiceAddress == b.ServiceAddress && a.VirtualConfig == b.VirtualConfig &&
		a.Ready == b.Ready && a.Terminating == b.Terminating && a.Account.Equal(b.Account) &&
		a.Asleep == b.Asleep && a.Waking == b.Waking && a.SleepEpoch == b.SleepEpoch && equality.Semantic.DeepEqual(a.Spec, b.Spec)
}
