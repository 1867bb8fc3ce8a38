package virtualcluster_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// mappedNamespace makes what the sync would: the namespace that stands for the tenant's "default", and in it a volume's
// claim, a Secret and the pod of a Job, which has a finalizer.
func (e *environment) mappedNamespace(t *testing.T, vc *clusterv1alpha1.VirtualCluster) string {
	t.Helper()
	owner := map[string]string{
		mapping.LabelID: vc.Status.ID, mapping.LabelUID: string(vc.UID),
		mapping.LabelName: vc.Name, mapping.LabelNamespace: vc.Namespace, mapping.LabelTenantNamespace: "default",
	}
	name := mapping.HostNamespace(vc.Status.ID, "default")
	labels := map[string]string{mapping.LabelKind: mapping.KindMapped}
	for key, value := range owner {
		labels[key] = value
	}
	if err := e.agentClient(t).Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}); err != nil {
		t.Fatal(err)
	}
	binding := agentBinding(name, owner)
	if err := e.agentClient(t).Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: binding.Namespace, Name: name, Labels: owner}
	}
	e.create(t, &corev1.Secret{ObjectMeta: meta("token")})
	e.create(t, &corev1.ConfigMap{ObjectMeta: meta("settings")})
	e.create(t, &corev1.PersistentVolumeClaim{ObjectMeta: meta("data"), Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: quantity("1Gi")}},
	}})
	e.createJobPod(t, meta("job"))
	return name
}

// createJobPod makes a pod that only the agent's doing lets go. The host gives a new namespace its account a moment later.
func (e *environment) createJobPod(t *testing.T, meta metav1.ObjectMeta) {
	t.Helper()
	meta.Finalizers = []string{mapping.FinalizerTerminalStatus}
	pod := &corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "demo"}}}}
	e.eventually(t, "a pod can be made", func() error { return e.admin.Create(t.Context(), pod.DeepCopy()) })
}

// checkDeletion wants the agent to empty the namespaces, and not to leave that to the host's own controller.
func (e *environment) checkDeletion(t *testing.T, vc *clusterv1alpha1.VirtualCluster, mapped string) {
	control := mapping.ControlNamespace(vc.Status.ID)
	e.mu.Lock()
	e.deletions = nil
	e.mu.Unlock()
	if err := e.admin.Delete(t.Context(), vc); err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{mapped, control} {
		e.eventually(t, "what is in "+namespace+" is gone", func() error { return e.emptied(t, namespace) })
	}
	e.awaitGone(t, vc.Name)
	first := []string{"pods", "persistentvolumeclaims", "secrets", "configmaps"}
	e.checkOrder(t, mapped, first, []string{"rolebindings"})
	e.checkOrder(t, control, append(first, "services"), []string{"networkpolicies", "rolebindings"})
}

// checkOrder wants the agent to have deleted some before a namespace itself, which is when the host's controller learns of it, and
// guards after that, when the pods have ended.
func (e *environment) checkOrder(t *testing.T, namespace string, first, guards []string) {
	t.Helper()
	deleted := e.deletedIn(namespace)
	itself := slices.Index(deleted, "")
	if itself < 0 {
		t.Errorf("the agent has not deleted %s: %v", namespace, deleted)
		return
	}
	for _, resource := range first {
		if !slices.Contains(deleted[:itself], resource) {
			t.Errorf("in %s the agent has not deleted %s first: %v", namespace, resource, deleted)
		}
	}
	for _, resource := range guards {
		if !slices.Contains(deleted[itself:], resource) {
			t.Errorf("in %s the agent has not deleted %s: %v", namespace, resource, deleted)
		}
	}
}

// emptied tells what is left of a virtual cluster in a namespace.
func (e *environment) emptied(t *testing.T, namespace string) error {
	var left []error
	for _, list := range []client.ObjectList{
		&corev1.PodList{}, &corev1.ServiceList{}, &corev1.PersistentVolumeClaimList{}, &corev1.SecretList{}, &corev1.ConfigMapList{},
		&networkingv1.NetworkPolicyList{}, &rbacv1.RoleBindingList{},
	} {
		if err := e.admin.List(t.Context(), list, client.InNamespace(namespace), client.HasLabels{mapping.LabelID}); err != nil {
			return err
		}
		raw, err := toUnstructured(list)
		if err != nil {
			return err
		}
		for _, item := range raw.Items {
			left = append(left, fmt.Errorf("%T %s is there", list, item.GetName()))
		}
	}
	return errors.Join(left...)
}

func TestOrphanWithFinalizers(t *testing.T) {
	env := newEnvironment(t)
	gone := &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "gone", UID: "gone"}}
	orphan := reservedNamespace(gone, "hhhhaaaa")
	if err := env.agentClient(t).Create(t.Context(), orphan); err != nil {
		t.Fatal(err)
	}
	env.createJobPod(t, metav1.ObjectMeta{Namespace: orphan.Name, Name: "job"})
	env.startAgent(t)
	env.eventually(t, "the namespace is gone", func() error { return env.absent(t, orphan.Name) })
}

// TestForgedLabels takes the case that the policies are off and somebody has made a namespace of the host's look like a
// virtual cluster's.
func TestForgedLabels(t *testing.T) {
	env := newEnvironment(t)
	env.create(t, newVirtualCluster("victim"))
	vc, err := env.get(t, "victim")
	if err != nil {
		t.Fatal(err)
	}
	env.removePolicies(t)
	forged := reservedNamespace(vc, "jjjjaaaa")
	forged.Name = "important"
	env.eventually(t, "the policies are off", func() error {
		err := env.admin.Create(t.Context(), forged.DeepCopy())
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	env.startAgent(t)
	if got := env.withID(t, "victim"); got.Status.ID == "jjjjaaaa" {
		t.Error("the forged namespace is taken for the virtual cluster's own")
	}
	if err := env.admin.Delete(t.Context(), vc); err != nil {
		t.Fatal(err)
	}
	env.awaitGone(t, "victim")
	var namespace corev1.Namespace
	if err := env.admin.Get(t.Context(), client.ObjectKey{Name: "important"}, &namespace); err != nil || !namespace.DeletionTimestamp.IsZero() {
		t.Errorf("the host's namespace was touched: %v, deleted at %v", err, namespace.DeletionTimestamp)
	}
}
