package virtualcluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/source"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// Names and ports of the agent's own objects. The chart and the architecture document repeat them.
const (
	// AgentName is the name of the agent's Deployment, Service and ServiceAccount.
	AgentName = "matryoshka-agent"
	// LabelApp is the label by which the agent's and the DNS's pods are selected.
	LabelApp = "app.kubernetes.io/name"

	// FrontDoorPort, KubeletDoorPort and AddressDoorPort are the agent's ports, of the Service and of the pods alike.
	FrontDoorPort   = 8443
	KubeletDoorPort = 8444
	AddressDoorPort = 8445

	dnsPort = 1053

	// TenantRole is the ClusterRole that the agent binds to itself in control and mapped namespaces.
	TenantRole = "matryoshka-agent-tenant"
	// KubeconfigRole is the ClusterRole that the agent binds to itself in the namespaces of VirtualClusters.
	KubeconfigRole = "matryoshka-agent-kubeconfig"
)

// Options are what the controllers need to know. All fields are required unless they say otherwise.
type Options struct {
	// SystemNamespace is where the agent, its Service and the DNS run.
	SystemNamespace string
	// Image of the control planes: the agent's own.
	Image string
	// FrontDoorAddress is the URL of the front door that kubeconfigs carry.
	FrontDoorAddress string
	// DNSService is the name of the DNS's Service in the system namespace.
	DNSService string
	// ClusterDomain of the tenants. Empty means "cluster.local".
	ClusterDomain string

	// InPlace brings the control namespace into the quotas of the account whose label it has, before anything enters it. Nil means
	// that there are none.
	InPlace func(ctx context.Context, hostNamespace *corev1.Namespace) error

	// Door signs the identities of control planes at the doors.
	Door *pki.Authority
	// Registry is filled with the tenants.
	Registry *tenants.Registry
	// Synced tells whether the sync engine serves a tenant, and what is wrong if it will not by waiting alone. Nil leaves the
	// condition Synced out.
	Synced func(tenants.Tenant) (ok bool, problem string)
	// Shards tell which virtual clusters are this replica's. Nil means all of them.
	Shards shards.Shares
	// Replica is the name of this replica, for the condition Synced. Empty leaves it out.
	Replica string
	// CustomResources tells what keeps the custom resources of a tenant's spec from being in step, as the reason of a condition and
	// a message, both empty when nothing does. Nil leaves the condition CustomResourcesSynced out.
	CustomResources func(tenants.Tenant) (reason, message string)
	// HostObjects tells the same of the objects of the host that the spec names, for the condition HostObjectsSynced.
	HostObjects func(tenants.Tenant) (reason, message string)
	// NetworkIsolation tells whether the host enforces NetworkPolicies, for the condition of that name. Nil leaves it out.
	NetworkIsolation func() (status metav1.ConditionStatus, reason, message string)
	// AtRest tells whether the sync does nothing for a virtual cluster that the registry says sleeps. Nil means that there is no sync.
	AtRest func(types.UID) bool
	// Hold tells why a virtual cluster may not run whatever it asks for, as the reason of the condition Asleep and a message; ""
	// holds nothing. Nil holds nothing.
	Hold func(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (reason, message string, err error)
	// Suspended tells whether nothing may be begun for a virtual cluster: one that sleeps does not wake, and is not deleted. Nil means
	// that none is.
	Suspended func(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (bool, error)
	// Places are what accounts leave for virtual clusters in their spaces. Nil means that there are no accounts.
	Places *Places
	// Triggers are further reasons to look at virtual clusters, for what Hold and Suspended go by.
	Triggers []source.Source
	// Dial reaches control planes, at the ClusterIPs of their host Services. Nil means TCP; only tests need another way.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Clock is for tests. Nil means the real one.
	Clock clock.PassiveClock
}

// Validate reports every error at once.
func (o *Options) Validate() error {
	var errs []error
	for name, value := range map[string]string{
		"namespace": o.SystemNamespace, "image": o.Image, "dns-service": o.DNSService,
	} {
		if value == "" {
			errs = append(errs, fmt.Errorf("--%s must not be empty", name))
		}
	}
	if address, err := url.Parse(o.FrontDoorAddress); err != nil || address.Scheme != "https" || address.Host == "" {
		errs = append(errs, fmt.Errorf("--front-door-address %q must be a URL such as https://127.0.0.1:8443", o.FrontDoorAddress))
	}
	if o.Door == nil || o.Registry == nil {
		errs = append(errs, errors.New("the door authority and the registry are required"))
	}
	return errors.Join(errs...)
}

func (o *Options) complete() {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Shards == nil {
		o.Shards = shards.All()
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
}

func (o *Options) clusterDomain() string {
	if o.ClusterDomain == "" {
		return "cluster.local"
	}
	return o.ClusterDomain
}

// DoorServerName is the name that the doors' certificates carry.
func (o *Options) DoorServerName() string { return AgentName + "." + o.SystemNamespace + ".svc" }
