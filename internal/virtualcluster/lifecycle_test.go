package virtualcluster_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

var discardLogger = logr.Discard()

func TestMain(m *testing.M) {
	ctrl.SetLogger(discardLogger)
	os.Exit(m.Run())
}

func toUnstructured(list client.ObjectList) (*unstructured.UnstructuredList, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(list)
	if err != nil {
		return nil, err
	}
	result := &unstructured.UnstructuredList{}
	items, _ := content["items"].([]any) // nil when there are none
	for _, item := range items {
		result.Items = append(result.Items, unstructured.Unstructured{Object: item.(map[string]any)})
	}
	return result, nil
}

func newVirtualCluster(name string) *clusterv1alpha1.VirtualCluster {
	return &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name}}
}

func isReady(vc *clusterv1alpha1.VirtualCluster) bool {
	return apimeta.IsStatusConditionTrue(vc.Status.Conditions, clusterv1alpha1.ConditionReady)
}

func (e *environment) awaitReady(t *testing.T, name string) *clusterv1alpha1.VirtualCluster {
	t.Helper()
	var vc *clusterv1alpha1.VirtualCluster
	e.eventually(t, name+" is ready", func() (err error) {
		if vc, err = e.get(t, name); err == nil && !isReady(vc) {
			err = fmt.Errorf("conditions are %+v", vc.Status.Conditions)
		}
		return err
	})
	return vc
}

func (e *environment) awaitGone(t *testing.T, name string) {
	t.Helper()
	e.eventually(t, name+" is gone", func() error {
		vc, err := e.get(t, name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, fmt.Errorf("finalizers are %v, conditions %+v", vc.Finalizers, vc.Status.Conditions))
	})
}

func TestLifecycle(t *testing.T) {
	env := newEnvironment(t)
	env.startAgent(t)
	before := env.inventory(t)
	env.create(t, newVirtualCluster("hello"))
	vc := env.withID(t, "hello")
	env.startControlPlane(t, vc)
	vc = env.awaitReady(t, "hello")

	t.Run("Status", func(t *testing.T) { env.checkStatus(t, vc) })
	t.Run("Kubeconfig", func(t *testing.T) { env.checkKubeconfig(t, vc) })
	t.Run("Registry", func(t *testing.T) { env.checkRegistry(t, vc) })
	t.Run("Endpoints", func(t *testing.T) { env.checkEndpoints(t, vc) })
	t.Run("Repair", func(t *testing.T) { env.checkRepair(t, vc) })
	t.Run("Resources", func(t *testing.T) { env.checkResources(t, vc) })
	t.Run("BadResources", func(t *testing.T) { env.checkBadResources(t, vc) })
	t.Run("Deletion", func(t *testing.T) {
		namespace := env.mappedNamespace(t, vc)
		env.checkDeletion(t, vc, namespace)
		if diff := cmp.Diff(before, env.inventory(t)); diff != "" {
			t.Errorf("what is on the host has changed (-before +after):\n%s", diff)
		}
		if left := env.registry.List(); len(left) != 0 {
			t.Errorf("the registry still has %d tenants", len(left))
		}
	})
}

func (e *environment) checkStatus(t *testing.T, vc *clusterv1alpha1.VirtualCluster) {
	// It is about the host, and does not make a virtual cluster unready.
	if isolation := apimeta.FindStatusCondition(vc.Status.Conditions, clusterv1alpha1.ConditionNetworkIsolation); isolation == nil ||
		isolation.Status != metav1.ConditionFalse || isolation.Reason != "NotEnforced" || isolation.Message != "of the test" {
		t.Errorf("condition NetworkIsolation: %+v", isolation)
	}
	if !mapping.IsID(vc.Status.ID) || vc.Status.ServerName != mapping.ServerName(vc.Status.ID) {
		t.Errorf("got ID %q and server name %q", vc.Status.ID, vc.Status.ServerName)
	}
	if vc.Status.KubernetesVersion != clusterv1alpha1.KubernetesVersion || vc.Status.KubeconfigSecret != "hello-kubeconfig" ||
		vc.Status.Endpoint != "https://127.0.0.1:8443" || vc.Status.ObservedGeneration != vc.Generation {
		t.Errorf("got the status %+v", vc.Status)
	}
	var namespace corev1.Namespace
	if err := e.admin.Get(t.Context(), client.ObjectKey{Name: mapping.ControlNamespace(vc.Status.ID)}, &namespace); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		mapping.LabelKind: mapping.KindControl, mapping.LabelID: vc.Status.ID, mapping.LabelUID: string(vc.UID),
		mapping.LabelName: "hello", mapping.LabelNamespace: "demo",
		"pod-security.kubernetes.io/enforce": "restricted", "kubernetes.io/metadata.name": namespace.Name,
	}
	if diff := cmp.Diff(want, namespace.Labels); diff != "" {
		t.Errorf("labels of the control namespace (-want +got):\n%s", diff)
	}
}

// checkKubeconfig uses the kubeconfig as its owner would, but for the way to the front door.
func (e *environment) checkKubeconfig(t *testing.T, vc *clusterv1alpha1.VirtualCluster) {
	var secret corev1.Secret
	if err := e.admin.Get(t.Context(), client.ObjectKey{Namespace: "demo", Name: "hello-kubeconfig"}, &secret); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(secret.Data["config"])
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://127.0.0.1:8443" || config.ServerName != vc.Status.ServerName {
		t.Errorf("the kubeconfig leads to %s as %s", config.Host, config.ServerName)
	}
	tenant, _ := e.registry.ByUID(vc.UID)
	config.Host = "https://" + e.controlPlanes[tenant.ServiceAddress]
	e.mayEverything(t, config)
}

func (e *environment) mayEverything(t *testing.T, config *rest.Config) {
	t.Helper()
	virtualClient, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := virtualClient.CoreV1().Secrets("kube-system").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
}

func (e *environment) checkRegistry(t *testing.T, vc *clusterv1alpha1.VirtualCluster) {
	e.eventually(t, "the tenant is ready in the registry", func() error {
		if tenant, ok := e.registry.ByID(vc.Status.ID); !ok || !tenant.Ready {
			return fmt.Errorf("found %t: %+v", ok, tenant)
		}
		return nil
	})
	tenant, _ := e.registry.ByUID(vc.UID)
	e.mayEverything(t, tenant.VirtualConfig)
	if _, err := tenant.KubeletCertificate("10.0.0.1"); err != nil || len(tenant.RootCA) == 0 {
		t.Errorf("the tenant lacks certificates: %v", err)
	}
}

func (e *environment) checkEndpoints(t *testing.T, vc *clusterv1alpha1.VirtualCluster) {
	var pod corev1.Pod
	e.eventually(t, "the pod exists", func() error {
		return e.admin.Get(t.Context(), client.ObjectKey{Namespace: mapping.ControlNamespace(vc.Status.ID), Name: "controlplane-0"}, &pod)
	})
	tenant, _ := e.registry.ByUID(vc.UID)
	virtualClient, err := kubernetes.NewForConfig(tenant.VirtualConfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"10.244.0.7", "10.244.0.9"} {
		pod.Status.PodIP, pod.Status.PodIPs = address, []corev1.PodIP{{IP: address}}
		if err := e.admin.Status().Update(t.Context(), &pod); err != nil {
			t.Fatal(err)
		}
		e.eventually(t, "the endpoints of default/kubernetes are the pod's", func() error {
			slice, err := virtualClient.DiscoveryV1().EndpointSlices("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if diff := cmp.Diff([]string{address}, sliceAddresses(slice)); diff != "" {
				return errors.New(diff)
			}
			return nil
		})
	}
}

func sliceAddresses(slice *discoveryv1.EndpointSlice) []string {
	var addresses []string
	for _, endpoint := range slice.Endpoints {
		addresses = append(addresses, endpoint.Addresses...)
	}
	return addresses
}

func (e *environment) checkRepair(t *testing.T, vc *clusterv1alpha1.VirtualCluster) {
	namespace := mapping.ControlNamespace(vc.Status.ID)
	for _, object := range []client.Object{
		&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "controlplane"}},
		&networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "controlplane"}},
	} {
		object.SetNamespace(namespace)
		key := client.ObjectKeyFromObject(object)
		if err := e.admin.Get(t.Context(), key, object); err != nil {
			t.Fatal(err)
		}
		old := object.GetUID()
		if err := e.admin.Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		e.eventually(t, fmt.Sprintf("the deleted %T is back", object), func() error {
			if err := e.admin.Get(t.Context(), key, object); err != nil {
				return err
			}
			if object.GetUID() == old {
				return errors.New("the old one is still there")
			}
			return nil
		})
	}
	var set appsv1.StatefulSet
	key := client.ObjectKey{Namespace: namespace, Name: "controlplane"}
	e.eventually(t, "another image is written", func() error { // its controller writes its status meanwhile
		if err := e.admin.Get(t.Context(), key, &set); err != nil {
			return err
		}
		set.Spec.Template.Spec.Containers[0].Image = "evil:v1"
		return e.admin.Update(t.Context(), &set)
	})
	e.eventually(t, "the image is right again", func() error {
		if err := e.admin.Get(t.Context(), key, &set); err != nil {
			return err
		}
		if image := set.Spec.Template.Spec.Containers[0].Image; image != "matryoshka.dev/matryd:test" {
			return fmt.Errorf("the image is %s", image)
		}
		return nil
	})
}

func (e *environment) change(t *testing.T, name string, change func(*clusterv1alpha1.VirtualCluster)) {
	t.Helper()
	e.eventually(t, "change "+name, func() error {
		vc, err := e.get(t, name)
		if err != nil {
			return err
		}
		change(vc)
		return e.admin.Update(t.Context(), vc)
	})
}

func (e *environment) checkResources(t *testing.T, vc *clusterv1alpha1.VirtualCluster) {
	e.change(t, "hello", func(vc *clusterv1alpha1.VirtualCluster) { vc.Spec.Resources = resources("70m", "1Gi") })
	e.eventually(t, "the resources are rolled out", func() error {
		var set appsv1.StatefulSet
		if err := e.admin.Get(t.Context(), client.ObjectKey{Namespace: mapping.ControlNamespace(vc.Status.ID), Name: "controlplane"}, &set); err != nil {
			return err
		}
		container := set.Spec.Template.Spec.Containers[0]
		if cpu := container.Resources.Requests.Cpu().String(); cpu != "70m" {
			return fmt.Errorf("the request is %s", cpu)
		}
		for _, variable := range container.Env {
			if variable.Name == "GOMEMLIMIT" {
				return nil
			}
		}
		return errors.New("GOMEMLIMIT is not set")
	})
}

// checkBadResources changes the spec into what only the host finds wrong: a request above the limit.
func (e *environment) checkBadResources(t *testing.T, vc *clusterv1alpha1.VirtualCluster) {
	e.change(t, "hello", func(vc *clusterv1alpha1.VirtualCluster) {
		vc.Spec.Resources = resources("70m", "1Gi")
		vc.Spec.Resources.Requests[corev1.ResourceMemory] = quantity("2Gi")
	})
	e.eventually(t, "the condition tells what is wrong", func() error {
		vc, err := e.get(t, "hello")
		if err != nil {
			return err
		}
		ready := apimeta.FindStatusCondition(vc.Status.Conditions, clusterv1alpha1.ConditionReady)
		if ready.Status != metav1.ConditionFalse || ready.Reason != "InvalidSpec" || !contains(ready.Message, "must be less than or equal to memory limit") {
			return fmt.Errorf("the condition is %+v", ready)
		}
		return nil
	})
	e.change(t, "hello", func(vc *clusterv1alpha1.VirtualCluster) { vc.Spec.Resources = nil })
	e.awaitReady(t, "hello")
}
