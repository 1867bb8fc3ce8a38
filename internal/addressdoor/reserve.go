package addressdoor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor/reservation"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// fieldManager is the name under which the agent's writes of reservations stand in managedFields.
const fieldManager = "matryoshka-address-door"

// attempts bounds how often a request starts again because somebody else wrote the host Service meanwhile.
const attempts = 6

// ask is one request on its way.
type ask struct {
	tenant  tenants.Tenant
	service *corev1.Service
	dryRun  []string
	// hostNamespace and hostName are where the host Service is.
	hostNamespace, hostName string
}

// errAgain says that the host Service changed underneath and that the work starts anew.
var errAgain = errors.New("the host Service has changed meanwhile")

func (d *Door) reserve(ctx context.Context, tenant tenants.Tenant, request reservation.Request) (*reservation.Response, error) {
	service := &request.Service
	if err := validate(service); err != nil {
		return nil, err
	}
	if !needsAddress(service) {
		return answerAsAsked(service), nil
	}
	a := ask{
		tenant:        tenant,
		service:       service,
		hostNamespace: mapping.HostNamespace(tenant.ID, service.Namespace),
		hostName:      mapping.HostName("Service", service.Name),
	}
	if request.DryRun {
		a.dryRun = []string{metav1.DryRunAll}
	}
	var last error
	for range attempts {
		if err := d.ensureNamespace(ctx, a); err != nil {
			return nil, err
		}
		hostService, err := d.hold(ctx, a)
		if err == nil {
			return d.withHealthCheckPort(ctx, a, hostService, answerFrom(hostService, service))
		}
		if !errors.Is(err, errAgain) && !apierrors.IsConflict(err) {
			return nil, err
		}
		last = err
	}
	return nil, last
}

// ensureNamespace makes the mapped namespace, of which a dry run has no need.
func (d *Door) ensureNamespace(ctx context.Context, a ask) error {
	if len(a.dryRun) > 0 {
		return nil
	}
	if err := d.EnsureNamespace(ctx, a.tenant, a.service.Namespace); err != nil {
		return fmt.Errorf("make the mapped namespace of %q: %w", a.service.Namespace, err)
	}
	return nil
}

// validate refuses names that could not be mapped. Everything else is validated by the host and by the tenant itself.
func validate(service *corev1.Service) error {
	var errs field.ErrorList
	metadata := field.NewPath("metadata")
	for _, message := range validation.IsDNS1123Label(service.Namespace) {
		errs = append(errs, field.Invalid(metadata.Child("namespace"), service.Namespace, message))
	}
	for _, message := range validation.IsDNS1123Label(service.Name) {
		errs = append(errs, field.Invalid(metadata.Child("name"), service.Name, message))
	}
	if mapping.IsReserved(service.Name) {
		errs = append(errs, field.Invalid(metadata.Child("name"), service.Name,
			fmt.Sprintf("names that begin with %q belong to the host; choose another", mapping.ReservedPrefix)))
	}
	if service.Namespace == metav1.NamespaceDefault && service.Name == "kubernetes" {
		errs = append(errs, field.Forbidden(metadata.Child("name"), "the address of default/kubernetes is the control plane's own"))
	}
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, service.Name, errs)
}

// hold makes the host Service hold what is asked, and returns it.
func (d *Door) hold(ctx context.Context, a ask) (*corev1.Service, error) {
	if a.service.UID == "" {
		// Most requests are for new Services: one call to the host instead of two.
		hostService, err := d.create(ctx, a)
		if !apierrors.IsAlreadyExists(err) {
			return hostService, err
		}
	}
	hostService, err := d.Host.CoreV1().Services(a.hostNamespace).Get(ctx, a.hostName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if a.service.UID == "" {
			return nil, errAgain // it went between the two calls
		}
		hostService, err := d.create(ctx, a)
		if apierrors.IsAlreadyExists(err) {
			return nil, errAgain
		}
		return hostService, err
	}
	if err != nil {
		return nil, fmt.Errorf("get the host Service: %w", err)
	}
	return d.reuse(ctx, a, hostService)
}

func (d *Door) create(ctx context.Context, a ask) (*corev1.Service, error) {
	wanted := newReservation(a.tenant, a.service, d.Clock.Now().Add(reservationTime))
	options := metav1.CreateOptions{FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict, DryRun: a.dryRun}
	hostService, err := d.Host.CoreV1().Services(wanted.Namespace).Create(ctx, wanted, options)
	if apierrors.IsNotFound(err) && len(a.dryRun) > 0 {
		// A dry run makes no namespace; the control namespace is always there and is asked in its place.
		return d.try(ctx, mapping.ControlNamespace(a.tenant.ID), wanted)
	}
	switch {
	case err == nil:
		return hostService, nil
	case apierrors.IsNotFound(err):
		d.ForgetNamespace(a.hostNamespace)
		return nil, errAgain
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		d.ForgetNamespace(a.hostNamespace)
		return nil, &leavingError{namespace: a.service.Namespace}
	}
	return nil, fmt.Errorf("reserve the addresses on the host: %w", err)
}

// try asks the host what it would allocate, under a name that collides with nothing.
func (d *Door) try(ctx context.Context, hostNamespace string, wanted *corev1.Service) (*corev1.Service, error) {
	wanted = wanted.DeepCopy()
	wanted.Namespace, wanted.Name, wanted.GenerateName = hostNamespace, "", mapping.ReservedPrefix+"dry-run-"
	options := metav1.CreateOptions{FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll}}
	tried, err := d.Host.CoreV1().Services(hostNamespace).Create(ctx, wanted, options)
	if err != nil {
		return nil, fmt.Errorf("try the addresses on the host: %w", err)
	}
	return tried, nil
}

// reuse makes a host Service that is there already hold what is asked.
func (d *Door) reuse(ctx context.Context, a ask, hostService *corev1.Service) (*corev1.Service, error) {
	if !belongsTo(hostService, a.tenant, a.service.Namespace) {
		return nil, &foreignError{name: a.service.Name}
	}
	if hostService.DeletionTimestamp != nil {
		return nil, &predecessorError{name: a.service.Name}
	}
	isCopy, isLeftover, err := d.relation(ctx, a, hostService)
	if err != nil {
		return nil, err
	}
	if isLeftover || !isCopy && mustReplace(hostService, a.service) {
		return d.replace(ctx, a, hostService)
	}
	if isHeadless(hostService) {
		// The tenant Service went from headless to having an address; the sync has not followed yet.
		return nil, &predecessorError{name: a.service.Name}
	}
	needed := changeFor(hostService, a.service, d.Clock.Now())
	if needed.empty() {
		return hostService, nil
	}
	return d.patch(ctx, a, hostService, needed)
}

// relation tells how a host Service stands to the tenant Service that asks: isCopy, it is the copy of that very
// Service; isLeftover, it is the copy of an earlier one of the same name. Neither means that it is a reservation.
func (d *Door) relation(ctx context.Context, a ask, hostService *corev1.Service) (isCopy, isLeftover bool, err error) {
	copyOf := types.UID(hostService.Annotations[mapping.AnnotationTenantUID])
	if copyOf != "" && copyOf == a.service.UID {
		return true, false, nil
	}
	current, err := d.TenantService(ctx, a.tenant, a.service.Namespace, a.service.Name)
	if err != nil {
		return false, false, err
	}
	if a.service.UID == "" && current != "" {
		// The tenant's API server would find out by itself, but only after it had found the addresses taken.
		return false, false, &existsError{name: a.service.Name}
	}
	if copyOf == "" {
		return false, false, nil
	}
	return current == copyOf, current != copyOf, nil
}

// replace deletes a host Service, bound to the state that was judged, and reserves anew. The new one has another UID,
// so that a deletion of the old one that the sync has under way cannot hit it.
func (d *Door) replace(ctx context.Context, a ask, hostService *corev1.Service) (*corev1.Service, error) {
	if len(a.dryRun) > 0 {
		wanted := newReservation(a.tenant, a.service, d.Clock.Now())
		return d.try(ctx, a.hostNamespace, wanted)
	}
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{
		UID: &hostService.UID, ResourceVersion: &hostService.ResourceVersion,
	}}
	err := d.Host.CoreV1().Services(a.hostNamespace).Delete(ctx, a.hostName, options)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("delete the host Service of an earlier Service: %w", err)
	}
	created, err := d.create(ctx, a)
	if apierrors.IsAlreadyExists(err) {
		return nil, errAgain // a finalizer holds it, or somebody else was faster
	}
	return created, err
}

func (d *Door) patch(ctx context.Context, a ask, hostService *corev1.Service, needed change) (*corev1.Service, error) {
	body, err := json.Marshal(needed.patch(hostService))
	if err != nil {
		return nil, fmt.Errorf("encode the change of the host Service: %w", err)
	}
	options := metav1.PatchOptions{FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict, DryRun: a.dryRun}
	patched, err := d.Host.CoreV1().Services(a.hostNamespace).Patch(ctx, a.hostName, types.MergePatchType, body, options)
	if apierrors.IsNotFound(err) {
		return nil, errAgain
	}
	if err != nil {
		return nil, fmt.Errorf("add addresses to the host Service: %w", err)
	}
	return patched, nil
}

// withHealthCheckPort adds the health check port of a load balancer. An inert Service cannot hold one, so the host is
// asked for a free one; the sync asks for the same one when it makes the load balancer.
func (d *Door) withHealthCheckPort(ctx context.Context, a ask, hostService *corev1.Service, response *reservation.Response) (*reservation.Response, error) {
	if !needsHealthCheckPort(a.service) || response.Spec.HealthCheckNodePort != 0 {
		return response, nil
	}
	balancer := newReservation(a.tenant, a.service, d.Clock.Now())
	balancer.Spec = corev1.ServiceSpec{
		Type:                          corev1.ServiceTypeLoadBalancer,
		ExternalTrafficPolicy:         corev1.ServiceExternalTrafficPolicyLocal,
		AllocateLoadBalancerNodePorts: new(bool),
		Ports:                         inertPorts(a.service.Spec.Ports),
	}
	for i := range balancer.Spec.Ports {
		balancer.Spec.Ports[i].NodePort = 0
	}
	tried, err := d.try(ctx, hostService.Namespace, balancer)
	if err != nil {
		return nil, err
	}
	response.Spec.HealthCheckNodePort = tried.Spec.HealthCheckNodePort
	return response, nil
}
