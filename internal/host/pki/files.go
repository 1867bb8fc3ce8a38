package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Files says where the keys and certificates are.
type Files struct{ folder string }

// The methods return paths, for the flags of the Kubernetes components.

// CA is the certificate of the authority of the API server, the kubelet and their clients.
func (f Files) CA() string { return f.path("ca.crt") }

// CAKey is the key of the authority; the controller manager signs with it.
func (f Files) CAKey() string { return f.path("ca.key") }

// FrontProxyCA is the certificate of the authority of those who may call aggregated API servers in others' names.
func (f Files) FrontProxyCA() string { return f.path("front-proxy-ca.crt") }

// FrontProxyCert is what the API server shows to aggregated API servers.
func (f Files) FrontProxyCert() string { return f.path("front-proxy-client.crt") }

// FrontProxyKey is the key of FrontProxyCert.
func (f Files) FrontProxyKey() string { return f.path("front-proxy-client.key") }

// APIServerCert is what the API server shows to its clients.
func (f Files) APIServerCert() string { return f.path("apiserver.crt") }

// APIServerKey is the key of APIServerCert.
func (f Files) APIServerKey() string { return f.path("apiserver.key") }

// KubeletClientCert is what the API server shows to the kubelet.
func (f Files) KubeletClientCert() string { return f.path("apiserver-kubelet-client.crt") }

// KubeletClientKey is the key of KubeletClientCert.
func (f Files) KubeletClientKey() string { return f.path("apiserver-kubelet-client.key") }

// KubeletCert is what a kubelet, Kubelet or WorkerKubelet, shows to its clients.
func (f Files) KubeletCert(kubelet string) string { return f.path(kubelet + ".crt") }

// KubeletKey is the key of KubeletCert.
func (f Files) KubeletKey(kubelet string) string { return f.path(kubelet + ".key") }

// MetricsServerCert is what the metrics server shows to the API server.
func (f Files) MetricsServerCert() string { return f.path("metrics-server.crt") }

// MetricsServerKey is the key of MetricsServerCert.
func (f Files) MetricsServerKey() string { return f.path("metrics-server.key") }

// ServiceAccountKey signs and verifies the tokens of service accounts.
func (f Files) ServiceAccountKey() string { return f.path("service-account.key") }

// Kubeconfig is that of one of the names below.
func (f Files) Kubeconfig(who string) string { return f.path(who + ".kubeconfig") }

func (f Files) path(name string) string { return filepath.Join(f.folder, name) }

// Names of the kubeconfigs that Ensure writes.
const (
	Admin             = "admin"
	ControllerManager = "controller-manager"
	Scheduler         = "scheduler"
	Kubelet           = "kubelet"
	WorkerKubelet     = "worker-kubelet"
	KubeProxy         = "kube-proxy"
	MetricsServer     = "metrics-server"
)

// MetricsServerUser is the name of the metrics server, which is given its rights by RBAC objects.
const MetricsServerUser = "system:metrics-server"

// Names says what the certificates are for.
type Names struct {
	// NodeName and NodeAddress of the first node.
	NodeName    string
	NodeAddress net.IP
	// WorkerName and WorkerAddress of the second node; empty without one.
	WorkerName    string
	WorkerAddress net.IP
	// ServiceAddress of the API server in the cluster.
	ServiceAddress net.IP
	// InsideServer is the API server's URL for the components; OutsideServer the one for the administrator.
	InsideServer, OutsideServer string
	// OutsideKubeconfig is where the administrator's kubeconfig goes.
	OutsideKubeconfig string
}

// In is the files of a folder that Ensure has filled.
func In(folder string) Files { return Files{folder: folder} }

// Ensure makes what is missing in the folder, and everything that the authorities sign anew.
func Ensure(folder string, names Names) (Files, error) {
	files := In(folder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return files, fmt.Errorf("make the folder of keys: %w", err)
	}
	ca, err := loadAuthority(folder, "ca")
	if err != nil {
		return files, err
	}
	frontProxy, err := loadAuthority(folder, "front-proxy-ca")
	if err != nil {
		return files, err
	}
	if err := ensureServiceAccountKey(files.ServiceAccountKey()); err != nil {
		return files, err
	}
	if err := signFiles(files, ca, frontProxy, names); err != nil {
		return files, err
	}
	return files, writeKubeconfigs(files, ca, names)
}

// signed is a certificate to be made.
type signed struct {
	by *authority
	request
}

// kubeletServer is what a kubelet shows.
func kubeletServer(name string, address net.IP) request {
	return request{
		commonName: "system:node:" + name, organization: []string{"system:nodes"}, usage: x509.ExtKeyUsageServerAuth,
		dnsNames: []string{name}, addresses: []net.IP{address},
	}
}

func signFiles(files Files, ca, frontProxy *authority, names Names) error {
	loopback := net.IPv4(127, 0, 0, 1)
	certificates := map[string]signed{
		"apiserver": {ca, request{
			commonName: "kube-apiserver", usage: x509.ExtKeyUsageServerAuth,
			dnsNames:  []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", names.NodeName},
			addresses: []net.IP{loopback, names.NodeAddress, names.ServiceAddress},
		}},
		Kubelet: {ca, kubeletServer(names.NodeName, names.NodeAddress)},
		"apiserver-kubelet-client": {ca, request{
			commonName: "kube-apiserver-kubelet-client", organization: []string{"system:masters"}, usage: x509.ExtKeyUsageClientAuth,
		}},
		"metrics-server": {ca, request{
			commonName: "metrics-server", usage: x509.ExtKeyUsageServerAuth,
			dnsNames: []string{"metrics-server.kube-system.svc"}, addresses: []net.IP{names.NodeAddress},
		}},
		"front-proxy-client": {frontProxy, request{commonName: "front-proxy-client", usage: x509.ExtKeyUsageClientAuth}},
	}
	if names.WorkerName != "" {
		certificates[WorkerKubelet] = signed{ca, kubeletServer(names.WorkerName, names.WorkerAddress)}
	}
	for name, certificate := range certificates {
		certPEM, keyPEM, err := certificate.by.sign(certificate.request)
		if err != nil {
			return err
		}
		if err := writeFile(files.path(name+".key"), keyPEM, 0o600); err != nil {
			return err
		}
		if err := writeFile(files.path(name+".crt"), certPEM, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func writeKubeconfigs(files Files, ca *authority, names Names) error {
	masters := []string{"system:masters"}
	users := map[string]request{
		Admin: {commonName: "matryoshka-admin", organization: masters},
		// The controllers share one identity with all rights instead of a ServiceAccount each: the process that they run in
		// holds the keys of the cluster anyhow, and it saves the start some seconds.
		ControllerManager: {commonName: "system:kube-controller-manager", organization: masters},
		Scheduler:         {commonName: "system:kube-scheduler"},
		Kubelet:           {commonName: "system:node:" + names.NodeName, organization: []string{"system:nodes"}},
		KubeProxy:         {commonName: "system:kube-proxy"},
		MetricsServer:     {commonName: MetricsServerUser},
	}
	if names.WorkerName != "" {
		users[WorkerKubelet] = request{commonName: "system:node:" + names.WorkerName, organization: []string{"system:nodes"}}
	}
	for name, user := range users {
		user.usage = x509.ExtKeyUsageClientAuth
		certPEM, keyPEM, err := ca.sign(user)
		if err != nil {
			return err
		}
		if err := writeKubeconfig(files.Kubeconfig(name), names.InsideServer, user.commonName, ca, certPEM, keyPEM); err != nil {
			return err
		}
		if name != Admin {
			continue
		}
		if err := writeKubeconfig(names.OutsideKubeconfig, names.OutsideServer, user.commonName, ca, certPEM, keyPEM); err != nil {
			return err
		}
	}
	return nil
}

func writeKubeconfig(path, server, user string, ca *authority, certPEM, keyPEM []byte) error {
	const name = "matryoshka"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: certificatePEM(ca.certificate.Raw)}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: certPEM, ClientKeyData: keyPEM}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: user}
	config.CurrentContext = name
	content, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig %s: %w", path, err)
	}
	return writeFile(path, content, 0o600)
}

func ensureServiceAccountKey(path string) error {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return fmt.Errorf("make a key: %w", err)
		}
		return writeKey(path, key)
	}
	if err != nil {
		return fmt.Errorf("read the key of service accounts: %w", err)
	}
	if _, err := parseKey(content); err != nil {
		return fmt.Errorf("key of service accounts %s: %w; restore the file, or remove the data folder to start anew", path, err)
	}
	return nil
}
