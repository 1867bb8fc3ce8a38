package controlplane

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	basecompatibility "k8s.io/component-base/compatibility"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	netutils "k8s.io/utils/net"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
)

// watchGrace is how long a stop gives watches to end with a proper last message.
const watchGrace = time.Second

// newOptions are the options of kube-apiserver that the configuration means.
func newOptions(c config.ControlPlane, p parts) (*options.ServerRunOptions, error) {
	registry, err := newComponentRegistry()
	if err != nil {
		return nil, err
	}
	o := options.NewServerRunOptions()
	o.GenericServerRunOptions.ComponentGlobalsRegistry = registry
	o.GenericServerRunOptions.AdvertiseAddress = netutils.ParseIPSloppy(c.ServiceAddress)
	// Without it a stop waits for the clients to end their watches, which they never do.
	o.GenericServerRunOptions.ShutdownWatchTerminationGracePeriod = watchGrace
	o.Features.EnableProfiling = false
	o.AllowPrivileged = true // what a tenant may really run is decided by the host's pod security
	o.EndpointReconcilerType = "none"
	o.ServiceClusterIPRanges = rangeFlag(c)
	o.ServiceNodePortRange = utilnet.PortRange{Base: 1, Size: 65535}
	setServing(o, c, p.listener)
	setStore(o, p.storeEndpoint)
	setAggregation(o, c)
	setKubelet(o, c)
	o.Authorization.Modes = []string{"Node", "RBAC"}
	if err := setAdmission(o, p.addresses); err != nil {
		return nil, err
	}
	if err := setAuthentication(o, c, p.runtimeDir); err != nil {
		return nil, err
	}
	return o, nil
}

// newComponentRegistry gives each control plane its own copy of versions and feature gates: upstream's default
// registry can be set only once per process.
func newComponentRegistry() (basecompatibility.ComponentGlobalsRegistry, error) {
	gates := utilfeature.DefaultMutableFeatureGate.DeepCopy()
	version := compatibility.DefaultBuildEffectiveVersion()
	registry := basecompatibility.NewComponentGlobalsRegistry()
	if err := registry.Register(basecompatibility.DefaultKubeComponent, version, gates); err != nil {
		return nil, fmt.Errorf("register the component: %w", err)
	}
	if err := registry.Set(); err != nil {
		return nil, fmt.Errorf("set the component's feature gates: %w", err)
	}
	return registry, nil
}

func setServing(o *options.ServerRunOptions, c config.ControlPlane, l net.Listener) {
	address := l.Addr().(*net.TCPAddr)
	o.SecureServing.Listener = l
	o.SecureServing.BindAddress = address.IP
	o.SecureServing.BindPort = address.Port
	o.SecureServing.ServerCert.CertKey.CertFile = filepath.Join(c.PKIDirectory, config.ServingCert)
	o.SecureServing.ServerCert.CertKey.KeyFile = filepath.Join(c.PKIDirectory, config.ServingKey)
}

// storePrefix is where the objects lie in the datastore; it is upstream's default.
const storePrefix = "/registry"

func setStore(o *options.ServerRunOptions, endpoint string) {
	o.Etcd.StorageConfig.Transport.ServerList = []string{endpoint}
	o.Etcd.StorageConfig.Prefix = storePrefix
	o.Etcd.DefaultStorageMediaType = "application/vnd.kubernetes.protobuf"
	// The store compacts itself.
	o.Etcd.StorageConfig.CompactionInterval = 0
	// Counting the objects of each of 70 kinds every minute, and the size of the database every 30 seconds, is what
	// an idle API server would spend most of its queries on.
	o.Etcd.StorageConfig.CountMetricPollPeriod = 0
	o.Etcd.StorageConfig.DBMetricPollInterval = 0
}

func setAggregation(o *options.ServerRunOptions, c config.ControlPlane) {
	o.Authentication.RequestHeader.ClientCAFile = filepath.Join(c.PKIDirectory, config.FrontProxyCA)
	o.Authentication.RequestHeader.AllowedNames = []string{frontProxyName}
	o.Authentication.RequestHeader.UsernameHeaders = []string{"X-Remote-User"}
	o.Authentication.RequestHeader.UIDHeaders = []string{"X-Remote-Uid"}
	o.Authentication.RequestHeader.GroupHeaders = []string{"X-Remote-Group"}
	o.Authentication.RequestHeader.ExtraHeaderPrefixes = []string{"X-Remote-Extra-"}
	o.ProxyClientCertFile = filepath.Join(c.PKIDirectory, config.FrontProxyCert)
	o.ProxyClientKeyFile = filepath.Join(c.PKIDirectory, config.FrontProxyKey)
}

// frontProxyName is the common name of the certificate that the aggregation layer shows to aggregated API servers.
const frontProxyName = "front-proxy-client"

func setKubelet(o *options.ServerRunOptions, c config.ControlPlane) {
	o.KubeletConfig.PreferredAddressTypes = []string{string(corev1.NodeInternalIP)}
	o.KubeletConfig.TLSClientConfig.CAFile = filepath.Join(c.PKIDirectory, config.KubeletCA)
}

// authenticationConfig lets anonymous requests reach the health endpoints only. An OIDC issuer of the tenant will be
// one more entry of this file, which the API server reloads.
const authenticationConfig = `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions:
  - path: /livez
  - path: /readyz
  - path: /healthz
`

func setAuthentication(o *options.ServerRunOptions, c config.ControlPlane, runtimeDir string) error {
	path := filepath.Join(runtimeDir, "authentication.yaml")
	if err := os.WriteFile(path, []byte(authenticationConfig), 0o600); err != nil {
		return fmt.Errorf("write the authentication configuration: %w", err)
	}
	key := filepath.Join(c.PKIDirectory, config.ServiceAccount)
	issuer := "https://kubernetes.default.svc." + c.ClusterDomain
	o.Authentication.AuthenticationConfigFile = path
	o.Authentication.ClientCert.ClientCA = filepath.Join(c.PKIDirectory, config.ClientCA)
	o.ServiceAccountSigningKeyFile = key
	o.Authentication.ServiceAccounts.KeyFiles = []string{key}
	o.Authentication.ServiceAccounts.Issuers = []string{issuer}
	// Upstream's default names the address with the port that this process listens on; the Service has another.
	o.Authentication.ServiceAccounts.JWKSURI = issuer + "/openid/v1/jwks"
	o.Authentication.APIAudiences = []string{issuer}
	// A token lives as long as its pod asked for, not a year.
	o.Authentication.ServiceAccounts.ExtendExpiration = false
	return nil
}
