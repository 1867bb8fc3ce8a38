package integration

import (
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// TestAccount: what a virtual cluster of an account has on the host is the account's and keeps its rules, of which the host's policies
// are the judges; the tenant sees what it may use, and follows when that changes.
func TestAccount(t *testing.T) {
	w := newWorld(t)
	w.tenant.Spec.Nodes.Selector = nil
	w.tenant.Account = &rules.Rules{
		Account: "team", Generation: 1, PriorityClass: "tenants",
		StorageClasses: rules.OnlyClasses("fast"), NodeSelector: map[string]string{"pool": "shared"},
		Tolerations: []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}},
	}
	w.preparePods(t) // with a node that is not the account's
	w.enforceAccountRules(t)
	create(t, w.host, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "tenants"}, Value: 10})
	create(t, w.host, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "shared", Labels: map[string]string{"pool": "shared"}}})
	create(t, w.host, newClass("fast"))
	create(t, w.host, newClass("gold"))
	w.run(t)

	create(t, w.virtual, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "web"}})
	hostNamespace := mapping.HostNamespace(w.tenant.ID, "web")
	await(t, w.host, client.ObjectKey{Name: hostNamespace}, &corev1.Namespace{}, func(namespace *corev1.Namespace) error {
		held, ok, err := rules.Of(namespace)
		return expect(err == nil && ok && held.Equal(w.tenant.Account), "the namespace has the rules %+v: %t, %v", held, ok, err)
	})

	t.Run("sees", func(t *testing.T) {
		await(t, w.virtual, client.ObjectKey{Name: "fast"}, &storagev1.StorageClass{}, func(*storagev1.StorageClass) error { return nil })
		await(t, w.virtual, client.ObjectKey{Name: "shared"}, &corev1.Node{}, func(*corev1.Node) error { return nil })
		never(t, w.virtual, client.ObjectKey{Name: "gold"}, &storagev1.StorageClass{})
		never(t, w.virtual, client.ObjectKey{Name: "node-1"}, &corev1.Node{})
	})
	t.Run("pod", func(t *testing.T) {
		await(t, w.virtual, client.ObjectKey{Namespace: "web", Name: "default"}, &corev1.ServiceAccount{}, func(*corev1.ServiceAccount) error { return nil })
		create(t, w.virtual, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "greedy"},
			Spec: corev1.PodSpec{
				AutomountServiceAccountToken: pointer(false),
				Tolerations:                  []corev1.Toleration{{Operator: corev1.TolerationOpExists}, {Key: "gpu", Operator: corev1.TolerationOpExists}},
				Containers:                   []corev1.Container{{Name: "c", Image: "example.org/image"}},
			},
		})
		await(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "greedy"}, &corev1.Pod{}, func(hostPod *corev1.Pod) error {
			spec := hostPod.Spec
			return expect(spec.NodeSelector["pool"] == "shared" && spec.PriorityClassName == "tenants" && !toleratesEverything(spec.Tolerations),
				"the host pod has the selector %v, the class %q and the tolerations %v", spec.NodeSelector, spec.PriorityClassName, spec.Tolerations)
		})
	})
	t.Run("claim", func(t *testing.T) {
		// A class of the tenant's own that is called like one of the host's.
		create(t, w.virtual, newClass("gold"))
		create(t, w.virtual, newClaim("web", "data", "gold"))
		w.awaitEvent(t, "web", "data", engine.ReasonNotSupported)
		never(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "data"}, &corev1.PersistentVolumeClaim{})
	})
	t.Run("changes", func(t *testing.T) {
		w.setAccount(&rules.Rules{Account: "team", Generation: 2, StorageClasses: rules.OnlyClasses()})
		awaitGone(t, w.virtual, client.ObjectKey{Name: "fast"}, &storagev1.StorageClass{})
		await(t, w.virtual, client.ObjectKey{Name: "node-1"}, &corev1.Node{}, func(*corev1.Node) error { return nil })
	})
}

func toleratesEverything(tolerations []corev1.Toleration) bool {
	for _, toleration := range tolerations {
		if toleration.Key == "" {
			return true
		}
	}
	return false
}

// setAccount changes what the engine knows of the account.
func (w *world) setAccount(account *rules.Rules) {
	w.specMu.Lock()
	defer w.specMu.Unlock()
	tenant, _ := w.registry.ByUID(w.tenant.UID)
	tenant.Account = account
	w.registry.Set(tenant)
}

// enforceAccountRules puts the policies of the chart that hold accounts to their rules onto the host.
func (w *world) enforceAccountRules(t *testing.T) {
	t.Helper()
	for _, document := range documents(t, "account-policy.yaml", agentUser) {
		var object client.Object
		switch kindOf(t, document) {
		case "ValidatingAdmissionPolicy":
			object = &admissionv1.ValidatingAdmissionPolicy{}
		case "ValidatingAdmissionPolicyBinding":
			object = &admissionv1.ValidatingAdmissionPolicyBinding{}
		default:
			continue
		}
		if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
			t.Fatalf("decode %s: %v", document, err)
		}
		w.createPolicy(t, object)
	}
}

// createPolicy uses a client of its own: the engine's does not know these kinds.
func (w *world) createPolicy(t *testing.T, object client.Object) {
	t.Helper()
	policies := kubernetes.NewForConfigOrDie(w.hostConfig).AdmissionregistrationV1()
	var err error
	switch object := object.(type) {
	case *admissionv1.ValidatingAdmissionPolicy:
		_, err = policies.ValidatingAdmissionPolicies().Create(t.Context(), object, metav1.CreateOptions{})
	case *admissionv1.ValidatingAdmissionPolicyBinding:
		_, err = policies.ValidatingAdmissionPolicyBindings().Create(t.Context(), object, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatalf("create %T %s: %v", object, object.GetName(), err)
	}
}
