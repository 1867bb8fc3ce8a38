package metricsserver

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistration "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

func TestObjects(t *testing.T) {
	config := testenv.StartHost(t)
	r := &runner{
		client:      kubernetes.NewForConfigOrDie(config),
		apiServices: apiregistration.NewForConfigOrDie(config),
		// The API server checks that it is certificates.
		authority: config.CAData,
	}
	services := r.apiServices.ApiregistrationV1().APIServices()
	for range 2 {
		if err := r.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := services.Get(t.Context(), apiServiceName, metav1.GetOptions{}); err == nil {
			t.Fatal("the API is registered before anything answers")
		}
		for range 2 {
			if err := r.register(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		registered, err := services.Get(t.Context(), apiServiceName, metav1.GetOptions{})
		if err != nil || registered.Spec.Service == nil || registered.Spec.InsecureSkipTLSVerify {
			t.Fatalf("registered %+v: %v", registered, err)
		}
	}
	if err := r.unregister(t.Context()); err != nil {
		t.Fatal(err)
	}

	foreign := &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: apiServiceName},
		Spec:       apiregistrationv1.APIServiceSpec{Group: group, Version: version, GroupPriorityMinimum: 1, VersionPriority: 1},
	}
	if _, err := services.Create(t.Context(), foreign, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := r.register(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.unregister(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept, err := services.Get(t.Context(), apiServiceName, metav1.GetOptions{}); err != nil || kept.Spec.Service != nil {
		t.Errorf("the registration of another metrics server is %+v: %v", kept, err)
	}
}
