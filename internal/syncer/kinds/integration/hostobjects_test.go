package integration

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// wishFor adds a wish for an object of the host to the spec, and returns a function that takes it back.
func (w *world) wishFor(wishes ...clusterv1alpha1.HostObject) (takeBack func()) {
	w.setSpec(func(spec *clusterv1alpha1.VirtualClusterSpec) {
		list := spec.Sync.HostObjects
		spec.Sync.HostObjects = append(list[:len(list):len(list)], wishes...)
	})
	return func() {
		w.setSpec(func(spec *clusterv1alpha1.VirtualClusterSpec) {
			var rest []clusterv1alpha1.HostObject
			for _, wish := range spec.Sync.HostObjects {
				if wish != wishes[0] {
					rest = append(rest, wish)
				}
			}
			spec.Sync.HostObjects = rest
		})
	}
}

// awaitRefusal waits until the condition would say that a wish is not fulfilled.
func (w *world) awaitRefusal(t *testing.T, wish clusterv1alpha1.HostObject, reason string) {
	t.Helper()
	tenant := w.tenant
	tenant.Spec.Sync.HostObjects = []clusterv1alpha1.HostObject{wish}
	eventually(t, "refusal of "+wish.Name, func() error {
		got, message := w.hostObjects.Problem(tenant)
		return expect(got == reason && (reason == "" || strings.Contains(message, wish.Name)), "it is %q: %s", got, message)
	})
}

// besideVirtualCluster makes the namespace of the VirtualCluster, in which the agent may read Secrets since it writes the
// kubeconfig there, and one that is shared in part.
func (w *world) besideVirtualCluster(t *testing.T) {
	t.Helper()
	for _, name := range []string{w.tenant.Namespace, "shared"} {
		create(t, w.host, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	agent := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: agentUser}}
	create(t, w.host, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.tenant.Namespace, Name: "matryoshka-kubeconfig-hello"}, Subjects: agent,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "matryoshka-agent-kubeconfig"},
	})
	create(t, w.host, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shared", Name: "shared"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}, ResourceNames: []string{"granted", "unmarked"}}},
	})
	create(t, w.host, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shared", Name: "shared"}, Subjects: agent,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "shared"},
	})
}

func hostSecret(namespace, name string, labels map[string]string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}, Data: map[string][]byte{"key": []byte("one")},
	}
}

func says(value string) func(*corev1.Secret) error {
	return func(secret *corev1.Secret) error {
		return errors.Join(
			expect(string(secret.Data["key"]) == value && len(secret.Data) == 1, "data %q", secret.Data),
			expect(secret.Labels[mapping.LabelMirror] == "true", "labels %v", secret.Labels))
	}
}

// testHostObjects: an object beside the VirtualCluster, and one that is shared from elsewhere, through their lives.
func testHostObjects(t *testing.T, w *world) {
	host := create(t, w.host, hostSecret(w.tenant.Namespace, "registry", nil))
	wish := clusterv1alpha1.HostObject{Kind: clusterv1alpha1.HostSecret, Name: "registry", ToNamespace: "late", ToName: "pull"}
	takeBack := w.wishFor(wish)
	w.awaitRefusal(t, wish, "NoNamespace")
	w.namespace(t, "late")
	key := client.ObjectKey{Namespace: "late", Name: "pull"}
	mirror := await(t, w.virtual, key, &corev1.Secret{}, says("one"))
	w.awaitRefusal(t, wish, "")

	change(t, w.host, host, func(host *corev1.Secret) { host.Data["key"] = []byte("two") })
	await(t, w.virtual, key, mirror, says("two"))
	change(t, w.virtual, mirror, func(mirror *corev1.Secret) {
		mirror.Labels = nil
		mirror.Data = map[string][]byte{"key": []byte("forged"), "more": nil}
	})
	await(t, w.virtual, key, mirror, says("two"))
	change(t, w.virtual, mirror, func(mirror *corev1.Secret) { mirror.Immutable = pointer(true) })
	change(t, w.host, host, func(host *corev1.Secret) { host.Data["key"] = []byte("three") })
	await(t, w.virtual, key, mirror, says("three"))
	remove(t, w.virtual, mirror)
	await(t, w.virtual, key, mirror, says("three"))

	copied := create(t, w.virtual, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "late", Name: "copied", Labels: mirror.Labels, Annotations: mirror.Annotations}, Data: mirror.Data,
	})
	takeBack()
	awaitGone(t, w.virtual, key, &corev1.Secret{})
	await(t, w.virtual, client.ObjectKeyFromObject(copied), copied, says("three"))

	offer := map[string]string{mapping.LabelOffer: "true"}
	granted := create(t, w.host, hostSecret("shared", "granted", offer))
	create(t, w.host, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shared", Name: "ca", Labels: offer}, Data: map[string]string{"ca.crt": "CA"}})
	w.wishFor(clusterv1alpha1.HostObject{Kind: clusterv1alpha1.HostConfigMap, Namespace: "shared", Name: "ca"})
	w.wishFor(clusterv1alpha1.HostObject{Kind: clusterv1alpha1.HostSecret, Namespace: "shared", Name: "granted"})
	await(t, w.virtual, client.ObjectKey{Namespace: "default", Name: "ca"}, &corev1.ConfigMap{}, func(mirror *corev1.ConfigMap) error {
		return expect(mirror.Data["ca.crt"] == "CA" && mirror.Labels[mapping.LabelMirror] == "true", "it is %+v", mirror)
	})
	key = client.ObjectKey{Namespace: "default", Name: "granted"}
	await(t, w.virtual, key, mirror, says("one"))
	change(t, w.host, granted, func(granted *corev1.Secret) { granted.Labels = nil })
	awaitGone(t, w.virtual, key, &corev1.Secret{})
}

// testHostObjectAttacks: whoever writes a VirtualCluster reads by it what is shared, and nothing else.
func testHostObjectAttacks(t *testing.T, w *world) {
	offer := map[string]string{mapping.LabelOffer: "true"}
	create(t, w.host, hostSecret(w.tenant.Namespace, "withheld", map[string]string{mapping.LabelOffer: "false"}))
	create(t, w.host, hostSecret(w.tenant.Namespace, "other-kubeconfig", map[string]string{mapping.LabelID: "abcdefgh", mapping.LabelUID: "other"}))
	token := hostSecret(w.tenant.Namespace, "token", offer)
	token.Type, token.Annotations = corev1.SecretTypeServiceAccountToken, map[string]string{corev1.ServiceAccountNameKey: "robot"}
	create(t, w.host, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.tenant.Namespace, Name: "robot"}})
	create(t, w.host, token)
	create(t, w.host, hostSecret("shared", "unmarked", nil))
	create(t, w.host, hostSecret("shared", "ungranted", offer))
	create(t, w.host, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "host-config"}, Data: map[string]string{"key": "one"}})

	secret, configMap := clusterv1alpha1.HostSecret, clusterv1alpha1.HostConfigMap
	for _, test := range []struct {
		wish   clusterv1alpha1.HostObject
		reason string
	}{
		{clusterv1alpha1.HostObject{Kind: secret, Name: "withheld"}, "NotShared"},
		{clusterv1alpha1.HostObject{Kind: secret, Name: "other-kubeconfig"}, "NotShared"},
		{clusterv1alpha1.HostObject{Kind: secret, Name: "token"}, "Refused"},
		{clusterv1alpha1.HostObject{Kind: secret, Namespace: "shared", Name: "unmarked"}, "NotShared"},
		{clusterv1alpha1.HostObject{Kind: secret, Namespace: "shared", Name: "ungranted"}, "NotShared"},
		{clusterv1alpha1.HostObject{Kind: secret, Namespace: "shared", Name: "not-there"}, "NotShared"},
		{clusterv1alpha1.HostObject{Kind: configMap, Namespace: "kube-system", Name: "host-config"}, "NotShared"},
	} {
		w.wishFor(test.wish)
		w.awaitRefusal(t, test.wish, test.reason)
		for _, object := range []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}} {
			if err := w.virtual.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: test.wish.Name}, object); !apierrors.IsNotFound(err) {
				t.Errorf("%s is in the virtual cluster: %v", test.wish.Name, err)
			}
		}
	}

	// A tenant's own object is not written, and the wish comes true when it gives way.
	create(t, w.host, hostSecret(w.tenant.Namespace, "mine", nil))
	own := create(t, w.virtual, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "mine"}, Data: map[string][]byte{"own": nil}})
	wish := clusterv1alpha1.HostObject{Kind: secret, Name: "mine"}
	w.wishFor(wish)
	w.awaitRefusal(t, wish, engine.ReasonNameTaken)
	w.awaitEvent(t, "default", "mine", engine.ReasonNameTaken)
	after := &corev1.Secret{}
	if err := w.virtual.Get(t.Context(), client.ObjectKeyFromObject(own), after); err != nil || after.ResourceVersion != own.ResourceVersion {
		t.Errorf("the tenant's own object was written: %+v, %v", after, err)
	}
	remove(t, w.virtual, own)
	await(t, w.virtual, client.ObjectKey{Namespace: "default", Name: "mine"}, after, says("one"))
}
