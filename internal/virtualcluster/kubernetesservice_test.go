package virtualcluster

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

func TestStaleKubernetesServiceIsMadeAnew(t *testing.T) {
	client, err := kubernetes.NewForConfig(testenv.StartTenant(t))
	if err != nil {
		t.Fatal(err)
	}
	before := awaitKubernetesService(t, client, "")
	if err := dropStaleService(t.Context(), &connection{client: client, address: before.Spec.ClusterIP}); err != nil {
		t.Fatal(err)
	}
	same := awaitKubernetesService(t, client, "")
	if same.UID != before.UID {
		t.Fatal("a Service with the right address was deleted")
	}
	if err := dropStaleService(t.Context(), &connection{client: client, address: "10.1.2.3"}); err != nil {
		t.Fatal(err)
	}
	awaitKubernetesService(t, client, before.UID)
}

// awaitKubernetesService waits until the API server has made default/kubernetes, with another UID than the one named.
func awaitKubernetesService(t *testing.T, client kubernetes.Interface, not types.UID) *corev1.Service {
	t.Helper()
	var service *corev1.Service
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 90*time.Second, true, func(ctx context.Context) (bool, error) {
		service, last = client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
		return last == nil && service.UID != not, nil
	})
	if err != nil {
		t.Fatalf("the API server has not made default/kubernetes: %v: %v", err, last)
	}
	return service
}
