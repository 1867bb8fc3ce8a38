package virtualcluster

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

func TestStaleKubernetesServiceIsMadeAnew(t *testing.T) {
	client, err := kubernetes.NewForConfig(testenv.StartTenant(t))
	if err != nil {
		t.Fatal(err)
	}
	services := client.CoreV1().Services(metav1.NamespaceDefault)
	before, err := services.Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := dropStaleService(t.Context(), &connection{client: client, address: before.Spec.ClusterIP}); err != nil {
		t.Fatal(err)
	}
	same, err := services.Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil || same.UID != before.UID {
		t.Fatalf("a Service with the right address was deleted: %v", err)
	}
	if err := dropStaleService(t.Context(), &connection{client: client, address: "10.1.2.3"}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		after, err := services.Get(t.Context(), "kubernetes", metav1.GetOptions{})
		if err == nil && after.UID != before.UID {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the API server has not made default/kubernetes anew: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
