package virtualcluster

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

const configFile = "controlplane.yaml"

// surroundings are the addresses that the host gave: to the control plane's Service, the agent and the DNS.
type surroundings struct {
	serviceAddresses []string
	agentAddress     string
	dnsAddress       string
	// account are the rules that hold for the control plane; nil without an account.
	account *rules.Rules
}

func renderConfigFile(vc *clusterv1alpha1.VirtualCluster, around surroundings, options *Options) ([]byte, error) {
	controlPlane := config.ControlPlane{
		TypeMeta:       metav1.TypeMeta{APIVersion: config.APIVersion, Kind: config.Kind},
		Name:           vc.Namespace + "/" + vc.Name,
		UID:            string(vc.UID),
		Port:           controlPlanePort,
		Store:          config.Store{Type: config.StoreType(vc.Spec.Store.Type)},
		ServiceAddress: around.serviceAddresses[0],
		ClusterDomain:  options.clusterDomain(),
		Scheduler:      vc.Spec.Scheduling == clusterv1alpha1.SchedulingTenant,
		// Addresses and not names: the control plane's DNS is the tenant's, which does not know the host's Services.
		Doors: &config.Doors{
			KubeletAddress: net.JoinHostPort(around.agentAddress, strconv.Itoa(KubeletDoorPort)),
			ServiceAddress: net.JoinHostPort(around.agentAddress, strconv.Itoa(AddressDoorPort)),
			ServerName:     options.DoorServerName(),
		},
	}
	for _, address := range around.serviceAddresses {
		serviceRange, err := tenantRange(address)
		if err != nil {
			return nil, err
		}
		controlPlane.ServiceRanges = append(controlPlane.ServiceRanges, serviceRange)
	}
	content, err := yaml.Marshal(controlPlane)
	if err != nil {
		return nil, fmt.Errorf("encode the configuration of the control plane: %w", err)
	}
	return content, nil
}

// tenantRange is the service range of an address's family in the tenant: all of IPv4, since the host decides which
// addresses exist, and the address's own /64 of IPv6, beyond which neither the tenant's Kubernetes nor the host's can go.
func tenantRange(address string) (string, error) {
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		return "", fmt.Errorf("the address %q of the control plane's Service: %w", address, err)
	}
	if parsed.Is4() {
		return "0.0.0.0/0", nil
	}
	return netip.PrefixFrom(parsed, 64).Masked().String(), nil
}

func renderConfigMap(vc *clusterv1alpha1.VirtualCluster, content []byte) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: controlMeta(vc, configName),
		Data:       map[string]string{configFile: string(content)},
	}
}

// configHash changes when a running control plane must be restarted: certificates it reads again by itself.
func configHash(content []byte, fingerprint string, doorCA []byte) string {
	hash := sha256.New()
	hash.Write(content)
	hash.Write([]byte(fingerprint))
	hash.Write(doorCA)
	return hex.EncodeToString(hash.Sum(nil)[:16])
}
