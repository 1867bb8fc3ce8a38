package serviceaddress

import (
	"context"
	"fmt"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/kubernetes/pkg/apis/core"
	corev1conversion "k8s.io/kubernetes/pkg/apis/core/v1"

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor/reservation"
)

// PluginName is how the plugin is listed among the admission plugins.
const PluginName = "MatryoshkaServiceAddress"

// Reserver asks the host for addresses.
type Reserver interface {
	Reserve(ctx context.Context, request *reservation.Request) (*reservation.Response, error)
}

// Register makes the plugin known to one API server.
func Register(plugins *admission.Plugins, reserver Reserver) {
	plugins.Register(PluginName, func(io.Reader) (admission.Interface, error) { return New(reserver), nil })
}

// Order returns a copy of upstream's plugin order with ours after the mutating webhooks. It is a copy because
// upstream's slice is shared by every API server of the process.
func Order(upstream []string) ([]string, error) {
	at := slices.Index(upstream, mutating.PluginName)
	if at < 0 {
		return nil, fmt.Errorf("admission plugin %q is not in the order", mutating.PluginName)
	}
	return slices.Insert(slices.Clone(upstream), at+1, PluginName), nil
}

// Plugin is the admission plugin.
type Plugin struct {
	*admission.Handler
	reserver Reserver
}

var _ admission.MutationInterface = (*Plugin)(nil)

// New returns the plugin.
func New(reserver Reserver) *Plugin {
	return &Plugin{Handler: admission.NewHandler(admission.Create, admission.Update), reserver: reserver}
}

// Admit fills in the addresses.
func (p *Plugin) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetResource().GroupResource() != corev1.Resource("services") || a.GetSubresource() != "" {
		return nil
	}
	service, ok := a.GetObject().(*core.Service)
	if !ok {
		return apierrors.NewInternalError(fmt.Errorf("a Service came as %T", a.GetObject()))
	}
	if a.GetNamespace() == metav1.NamespaceDefault && a.GetName() == "kubernetes" {
		return nil
	}
	if old, ok := a.GetOldObject().(*core.Service); ok && old != nil {
		keepAllocated(service, old)
		if !wantsMore(service, old) {
			return nil
		}
	} else if !needsAddress(service) {
		return nil
	}
	return p.fill(ctx, service, a)
}

func (p *Plugin) fill(ctx context.Context, service *core.Service, a admission.Attributes) error {
	if service.Name == "" && service.GenerateName != "" {
		service.Name = names.SimpleNameGenerator.GenerateName(service.GenerateName)
	}
	if len(validation.NameIsDNS1035Label(service.Name, false)) > 0 || len(service.Spec.Ports) == 0 {
		// The API server's own validation comes next and says it better than the host could.
		return nil
	}
	ask, err := request(service, a)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	answer, err := p.reserver.Reserve(ctx, ask)
	if err != nil {
		return err
	}
	if len(answer.Spec.Ports) != len(service.Spec.Ports) {
		return apierrors.NewInternalError(fmt.Errorf("the host answered with %d ports for %d of Service %q",
			len(answer.Spec.Ports), len(service.Spec.Ports), service.Name))
	}
	apply(service, &answer.Spec)
	return nil
}

func request(service *core.Service, a admission.Attributes) (*reservation.Request, error) {
	ask := &reservation.Request{DryRun: a.IsDryRun()}
	if err := corev1conversion.Convert_core_Service_To_v1_Service(service.DeepCopy(), &ask.Service, nil); err != nil {
		return nil, fmt.Errorf("convert Service %q: %w", service.Name, err)
	}
	ask.Service.Namespace = a.GetNamespace()
	ask.Service.ManagedFields = nil
	// The UID tells the door whether this is a new Service: only a stored one has it, whatever the client sent.
	ask.Service.UID = ""
	if old, ok := a.GetOldObject().(*core.Service); ok && old != nil {
		ask.Service.UID = old.UID
	}
	return ask, nil
}

// apply writes the host's choice. Node ports are written only where the type has them, as the API server refuses
// them elsewhere.
func apply(service *core.Service, allocated *corev1.ServiceSpec) {
	spec := &service.Spec
	spec.ClusterIP = allocated.ClusterIP
	spec.ClusterIPs = slices.Clone(allocated.ClusterIPs)
	spec.IPFamilies = nil
	for _, family := range allocated.IPFamilies {
		spec.IPFamilies = append(spec.IPFamilies, core.IPFamily(family))
	}
	if allocated.IPFamilyPolicy != nil {
		policy := core.IPFamilyPolicy(*allocated.IPFamilyPolicy)
		spec.IPFamilyPolicy = &policy
	}
	if needsNodePort(service) {
		for i := range spec.Ports {
			spec.Ports[i].NodePort = allocated.Ports[i].NodePort
		}
	}
	if needsHealthCheckPort(service) {
		spec.HealthCheckNodePort = allocated.HealthCheckNodePort
	}
}
