package integration

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// unlimited is somebody with all rights, confined only by the admission policies that the chart has for the agent.
func (w *world) unlimited(t *testing.T) client.Client {
	t.Helper()
	const user = "system:serviceaccount:matryoshka-system:unlimited"
	w.confine(t, user, "unlimited")
	create(t, w.host, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "unlimited"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	})
	return newClient(t, impersonate(w.hostConfig, user))
}

// testVolumePolicy: the agent may give a retained volume back to its claim, and change nothing else of any volume.
func testVolumePolicy(t *testing.T, w *world) {
	agent := w.unlimited(t)
	// Before its rights are known everything is forbidden to it, which says nothing about the policy.
	eventually(t, "the agent has its rights", func() error {
		return agent.List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace("default"))
	})
	eventually(t, "the policy is in force", func() error {
		err := agent.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "probe-"}})
		return expect(apierrors.IsForbidden(err) || apierrors.IsInvalid(err), "the agent wrote to another namespace: %v", err)
	})
	volume := func(name, namespace string, policy corev1.PersistentVolumeReclaimPolicy) *corev1.PersistentVolume {
		claim := newClaim(namespace, "data", "policy-class")
		claim.UID = "00000000-0000-4000-8000-00000000000a"
		return create(t, w.host, newVolume(name, policy, claim))
	}
	free := func(volume *corev1.PersistentVolume) { volume.Spec.ClaimRef.UID = "" }
	cases := map[string]struct {
		volume  *corev1.PersistentVolume
		edit    func(*corev1.PersistentVolume)
		allowed bool
	}{
		"a retained one of a virtual cluster": {volume("policy-1", "vc-x7k2p5q4-policy", corev1.PersistentVolumeReclaimRetain), free, true},
		"one of somebody else":                {volume("policy-2", "bank", corev1.PersistentVolumeReclaimRetain), free, false},
		"one that the host deletes":           {volume("policy-3", "vc-x7k2p5q4-policy", corev1.PersistentVolumeReclaimDelete), free, false},
		"another claim": {volume("policy-4", "vc-x7k2p5q4-policy", corev1.PersistentVolumeReclaimRetain), func(volume *corev1.PersistentVolume) {
			free(volume)
			volume.Spec.ClaimRef.Namespace = "vc-abcdefgh-thief"
		}, false},
		"a label": {volume("policy-5", "vc-x7k2p5q4-policy", corev1.PersistentVolumeReclaimRetain), func(volume *corev1.PersistentVolume) {
			free(volume)
			volume.Labels = map[string]string{"x": "y"}
		}, false},
	}
	for name, test := range cases {
		edited := test.volume.DeepCopy()
		test.edit(edited)
		err := agent.Patch(t.Context(), edited, client.MergeFromWithOptions(test.volume, client.MergeFromWithOptimisticLock{}))
		if (err == nil) != test.allowed {
			t.Errorf("%s: allowed %v, want %v: %v", name, err == nil, test.allowed, err)
		}
	}
	mapped := w.namespace(t, "policy")
	own := newService(mapped, "web", "10.96.40.1")
	if err := agent.Create(t.Context(), own); err != nil {
		t.Errorf("the agent cannot write in a mapped namespace: %v", err)
	}
}
