package virtualcluster

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// kubeconfigKey is the key of the kubeconfig in its Secret.
const kubeconfigKey = "config"

// kubeconfigFor returns the administrator's kubeconfig of a virtual cluster: the current one as long as it says what
// it must and its certificate is good, so that nothing is written again and again. renewAt is when the certificate
// has to be made anew.
func kubeconfigFor(vc *clusterv1alpha1.VirtualCluster, tenant *pki.Tenant, current []byte, frontDoor string, now time.Time) (content []byte, renewAt time.Time, err error) {
	pair, err := tenant.Client.Ensure(administratorPair(current), pki.AdministratorLeaf(), now)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("make the administrator's certificate: %w", err)
	}
	name := vc.Name
	config := clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server:                   frontDoor,
			TLSServerName:            mapping.ServerName(vc.Status.ID),
			CertificateAuthorityData: tenant.Serving.CertificatePEM(),
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{name: {
			ClientCertificateData: pair.CertPEM,
			ClientKeyData:         pair.KeyPEM,
		}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}
	content, err = clientcmd.Write(config)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("encode the kubeconfig: %w", err)
	}
	return content, pki.EarliestRenewal(map[string][]byte{"": pair.CertPEM}), nil
}

// administratorPair is the certificate that a kubeconfig carries; empty when it carries none.
func administratorPair(kubeconfig []byte) pki.Pair {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return pki.Pair{} // not ours any more: it is written anew
	}
	for _, user := range config.AuthInfos {
		return pki.Pair{CertPEM: user.ClientCertificateData, KeyPEM: user.ClientKeyData}
	}
	return pki.Pair{}
}

func renderKubeconfigSecret(vc *clusterv1alpha1.VirtualCluster, content []byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       vc.Namespace,
			Name:            kubeconfigSecretName(vc),
			Labels:          ownerLabels(vc, vc.Status.ID),
			OwnerReferences: []metav1.OwnerReference{ownerReference(vc)},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{kubeconfigKey: content},
	}
}
