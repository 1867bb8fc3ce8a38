package testenv_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

func TestHostAndTenantSideBySide(t *testing.T) {
	started := time.Now()
	host := kubernetes.NewForConfigOrDie(testenv.StartHost(t))
	t.Logf("host after %s", time.Since(started))
	tenant := kubernetes.NewForConfigOrDie(testenv.StartTenant(t))
	t.Logf("both after %s", time.Since(started))

	if groups, err := host.Discovery().ServerResourcesForGroupVersion("cluster.matryoshka.dev/v1alpha1"); err != nil {
		t.Errorf("host does not serve the VirtualCluster: %v, %v", groups, err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
	if _, err := tenant.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatalf("create a namespace: %v", err)
	}
	if _, err := host.CoreV1().Namespaces().Get(t.Context(), "web", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the host has the tenant's namespace, or: %v", err)
	}
	eventually(t, "ServiceAccount and CA of the new namespace", func() error {
		if _, err := tenant.CoreV1().ConfigMaps("web").Get(t.Context(), "kube-root-ca.crt", metav1.GetOptions{}); err != nil {
			return err
		}
		_, err := tenant.CoreV1().ServiceAccounts("web").Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	if err := tenant.CoreV1().Namespaces().Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatalf("delete the namespace: %v", err)
	}
	eventually(t, "end of the namespace", func() error {
		_, err := tenant.CoreV1().Namespaces().Get(t.Context(), "web", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errStillThere
	})
}
