package virtualcluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// made is what a complete application has brought about.
type made struct {
	connection *connection
	tenant     *pki.Tenant
	// renewAt is when a certificate has to be made anew.
	renewAt time.Time
	// configHash is the one that the control plane's pod has once it runs with all of this.
	configHash string
}

// ensure applies every object of a control plane, unless that was done for this generation and nobody has touched
// them since: while a control plane starts it is looked at many times a second.
func (r *Reconciler) ensure(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (*made, error) {
	known := r.memory.of(vc.UID)
	now := r.options.Clock.Now()
	runs := !vc.Status.Sleep.IsAsleep()
	isFresh := known.made != nil && known.generation == vc.Generation && known.runs == runs &&
		now.Before(known.appliedAt.Add(resyncPeriod)) && now.Before(known.made.renewAt)
	if isFresh {
		return known.made, nil
	}
	result, err := r.applyAll(ctx, vc)
	if err != nil {
		return nil, err
	}
	known.made, known.generation, known.runs, known.appliedAt, known.refusedSince = result, vc.Generation, runs, now, time.Time{}
	return result, nil
}

func (r *Reconciler) applyAll(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (*made, error) {
	if err := validateSpec(vc); err != nil {
		return nil, err
	}
	account, err := r.ensureNamespace(ctx, vc)
	if err != nil {
		return nil, err
	}
	if r.options.InPlace != nil {
		if err := r.options.InPlace(ctx, renderNamespace(vc, vc.Status.ID, account)); err != nil {
			return nil, err
		}
	}
	for _, object := range []client.Object{
		// The rights first: it takes the host a moment to hear of them.
		renderTenantBinding(vc, r.options),
		renderKubeconfigBinding(vc, r.options),
		renderNetworkPolicy(vc, r.options),
	} {
		if err := apply(ctx, r.host, object); err != nil {
			return nil, err
		}
	}
	service := renderService(vc)
	if err := apply(ctx, r.host, service); err != nil {
		return nil, err
	}
	around, err := r.surroundings(ctx, service)
	if err != nil {
		return nil, err
	}
	around.account = account
	tenant, renewAt, err := r.ensurePKI(ctx, vc, around)
	if err != nil {
		return nil, err
	}
	hash, err := r.ensureStatefulSet(ctx, vc, around, tenant)
	if err != nil {
		return nil, err
	}
	kubeconfigRenewAt, err := r.ensureKubeconfig(ctx, vc, tenant)
	if err != nil {
		return nil, err
	}
	if kubeconfigRenewAt.Before(renewAt) {
		renewAt = kubeconfigRenewAt
	}
	connection, err := r.connections.get(vc.UID, tenant, around.serviceAddresses[0])
	if err != nil {
		return nil, err
	}
	return &made{connection: connection, tenant: tenant, renewAt: renewAt, configHash: hash}, nil
}

// ensureNamespace repairs the control namespace, and makes it again when somebody has deleted it. It returns the rules of the
// account that the namespace belongs to, nil if it belongs to none.
func (r *Reconciler) ensureNamespace(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (*rules.Rules, error) {
	name := mapping.ControlNamespace(vc.Status.ID)
	var namespace corev1.Namespace
	err := r.host.Get(ctx, client.ObjectKey{Name: name}, &namespace)
	if apierrors.IsNotFound(err) {
		account, err := spaceRules(ctx, r.host, vc)
		if err != nil {
			return nil, err
		}
		if err := r.host.Create(ctx, renderNamespace(vc, vc.Status.ID, account), fieldManager); err != nil {
			return nil, fmt.Errorf("create Namespace %q: %w", name, err)
		}
		return account, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get Namespace %q: %w", name, err)
	}
	if !namespace.DeletionTimestamp.IsZero() {
		return nil, &retrySoonError{after: time.Second, err: fmt.Errorf("somebody has deleted Namespace %q; it is made again when it is gone", name)}
	}
	if namespace.Labels[mapping.LabelUID] != string(vc.UID) {
		return nil, fmt.Errorf("the Namespace %q is not this virtual cluster's: its label %s is %q, not %q; it is left alone",
			name, mapping.LabelUID, namespace.Labels[mapping.LabelUID], vc.UID)
	}
	desired := renderNamespace(vc, vc.Status.ID, nil)
	desired.UID = namespace.UID // never another one of this name
	if err := apply(ctx, r.host, desired); err != nil {
		return nil, err
	}
	return r.ensureAccount(ctx, vc, desired)
}

// surroundings finds the addresses that go into the configuration.
func (r *Reconciler) surroundings(ctx context.Context, service *corev1.Service) (surroundings, error) {
	around := surroundings{serviceAddresses: service.Spec.ClusterIPs}
	if len(around.serviceAddresses) == 0 {
		return surroundings{}, fmt.Errorf("the host gave Service %q no address", service.Namespace+"/"+service.Name)
	}
	for name, address := range map[string]*string{AgentName: &around.agentAddress, r.options.DNSService: &around.dnsAddress} {
		var system corev1.Service
		if err := r.host.Get(ctx, client.ObjectKey{Namespace: r.options.SystemNamespace, Name: name}, &system); err != nil {
			return surroundings{}, fmt.Errorf("get Service %q: %w", r.options.SystemNamespace+"/"+name, err)
		}
		if system.Spec.ClusterIP == "" || system.Spec.ClusterIP == corev1.ClusterIPNone {
			return surroundings{}, fmt.Errorf("the Service %q has no address; install the chart again", r.options.SystemNamespace+"/"+name)
		}
		*address = system.Spec.ClusterIP
	}
	return around, nil
}

func (r *Reconciler) ensurePKI(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, around surroundings) (*pki.Tenant, time.Time, error) {
	now := r.options.Clock.Now()
	var tenant *pki.Tenant
	_, err := r.ensureSecret(ctx, vc, agentPKISecretName, func(current map[string][]byte) (files map[string][]byte, err error) {
		if tenant, err = pki.EnsureTenant(current, vc.Status.ID, now); err != nil {
			return nil, err
		}
		if err := r.renew(ctx, vc, tenant, now); err != nil {
			return nil, fmt.Errorf("renew the credentials: %w", err)
		}
		return tenant.AgentFiles(), nil
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	renewAt, err := r.ensureLeafs(ctx, vc, tenant, around.serviceAddresses)
	return tenant, renewAt, err
}

// ensureLeafs writes what the control plane is given, and says when a certificate in it has to be made anew.
func (r *Reconciler) ensureLeafs(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, tenant *pki.Tenant, serviceAddresses []string) (time.Time, error) {
	names := pki.Names{
		UID: vc.UID, ID: vc.Status.ID, ServiceAddresses: serviceAddresses, ClusterDomain: r.options.clusterDomain(),
	}
	files, err := r.ensureSecret(ctx, vc, pkiSecretName, func(current map[string][]byte) (map[string][]byte, error) {
		return tenant.ControlPlaneFiles(current, names, r.options.Door, r.options.Clock.Now())
	})
	if err != nil {
		return time.Time{}, err
	}
	return pki.EarliestRenewal(files), nil
}

// ensureSecret creates or updates a Secret of the control namespace. Render is given what there is and returns what
// there should be.
func (r *Reconciler) ensureSecret(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, name string, render func(map[string][]byte) (map[string][]byte, error)) (map[string][]byte, error) {
	current := corev1.Secret{ObjectMeta: controlMeta(vc, name)}
	labels := current.Labels
	err := r.host.Get(ctx, client.ObjectKeyFromObject(&current), &current)
	isNew := apierrors.IsNotFound(err)
	if err != nil && !isNew {
		return nil, r.untilRightsArrive(vc, fmt.Errorf("get Secret %q: %w", current.Namespace+"/"+name, err))
	}
	files, err := render(current.Data)
	if err != nil {
		return nil, fmt.Errorf("render Secret %q: %w", current.Namespace+"/"+name, err)
	}
	if !isNew && equalFiles(current.Data, files) && hasLabels(&current, labels) {
		return files, nil
	}
	current.Data, current.Type, current.Labels = files, corev1.SecretTypeOpaque, labels
	if isNew {
		err = r.host.Create(ctx, &current, fieldManager)
	} else {
		err = r.host.Update(ctx, &current, fieldManager)
	}
	if err != nil {
		return nil, fmt.Errorf("write Secret %q: %w", current.Namespace+"/"+name, err)
	}
	return files, nil
}

func (r *Reconciler) ensureStatefulSet(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, around surroundings, tenant *pki.Tenant) (hash string, err error) {
	content, err := renderConfigFile(vc, around, r.options)
	if err != nil {
		return "", err
	}
	if err := apply(ctx, r.host, renderConfigMap(vc, content)); err != nil {
		return "", err
	}
	hash = configHash(content, tenant.Fingerprint(), r.options.Door.CertificatePEM())
	return hash, apply(ctx, r.host, renderStatefulSet(vc, around, hash, r.options))
}

// rightsPeriod is how long after the first refusal the agent still expects its RoleBinding to become effective.
const rightsPeriod = 5 * time.Second

// untilRightsArrive softens the refusal that comes in the moment between the RoleBinding and the host's knowing of it.
func (r *Reconciler) untilRightsArrive(vc *clusterv1alpha1.VirtualCluster, err error) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	known, now := r.memory.of(vc.UID), r.options.Clock.Now()
	if known.refusedSince.IsZero() {
		known.refusedSince = now
	}
	if now.Sub(known.refusedSince) > rightsPeriod {
		return err
	}
	return &retrySoonError{after: 50 * time.Millisecond, err: err}
}
