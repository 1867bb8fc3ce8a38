package virtualcluster_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

func TestAdmission(t *testing.T) {
	env := newEnvironment(t)
	t.Run("BadVirtualClusters", func(t *testing.T) { env.checkBadVirtualClusters(t) })
	t.Run("ChangesOfTheStore", func(t *testing.T) { env.checkChanges(t) })
	t.Run("ConfinedAgent", func(t *testing.T) { env.checkConfinedAgent(t) })
	t.Run("ReservedLabels", func(t *testing.T) { env.checkReservedLabels(t) })
}

func (e *environment) checkBadVirtualClusters(t *testing.T) {
	cases := map[string]struct {
		change func(*clusterv1alpha1.VirtualCluster)
		want   string
	}{
		"NameTooLong": {
			change: func(vc *clusterv1alpha1.VirtualCluster) { vc.Name = strings.Repeat("a", 51) },
			want:   "the name of a virtual cluster must have at most 50 characters",
		},
		"NameNoLabel": {
			change: func(vc *clusterv1alpha1.VirtualCluster) { vc.Name = "a.b" },
			want:   "the name of a virtual cluster must be a DNS label",
		},
		"OtherVersion": {
			change: func(vc *clusterv1alpha1.VirtualCluster) { vc.Spec.KubernetesVersion = "v1.35.0" },
			want:   "this release runs virtual clusters of Kubernetes v1.36.3 only; leave spec.kubernetesVersion out or set it to v1.36.3",
		},
		"ReplicasWithSQLite": {
			change: func(vc *clusterv1alpha1.VirtualCluster) { vc.Spec.Replicas = 3 },
			want:   "spec.replicas above 1 needs a store that several replicas can share",
		},
		"UnknownStore": {
			change: func(vc *clusterv1alpha1.VirtualCluster) { vc.Spec.Store.Type = "etcd" },
			want:   `spec.store.type: Unsupported value: "etcd": supported values: "sqlite", "memory"`,
		},
		"NothingOfAVolume": {
			change: func(vc *clusterv1alpha1.VirtualCluster) { vc.Spec.Store.Size = quantity("-1Gi") },
			want:   "spec.store.size must be more than nothing",
		},
		"OwnSchedulerWithoutNodes": {
			change: func(vc *clusterv1alpha1.VirtualCluster) {
				vc.Spec.Scheduling, vc.Spec.Nodes.Mode = clusterv1alpha1.SchedulingTenant, clusterv1alpha1.NodesUsed
			},
			want: "spec.scheduling tenant needs spec.nodes.mode all",
		},
		"NoStorageClassName": {
			change: func(vc *clusterv1alpha1.VirtualCluster) { vc.Spec.Store.StorageClassName = ptr.To("Fast Disks") },
			want:   "spec.store.storageClassName must be the name of a StorageClass",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			vc := newVirtualCluster("bad")
			tc.change(vc)
			err := e.admin.Create(t.Context(), vc)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	good := newVirtualCluster(strings.Repeat("a", 50))
	good.Spec.Scheduling = clusterv1alpha1.SchedulingTenant
	good.Spec.Nodes.Selector = map[string]string{"node.kubernetes.io/pool": "shared", "empty": ""}
	good.Spec.Store.Size, good.Spec.Store.StorageClassName = quantity("500Mi"), ptr.To("fast.example.org")
	e.create(t, good)
}

func (e *environment) checkChanges(t *testing.T) {
	e.create(t, newVirtualCluster("store"))
	cases := map[string]struct {
		change func(*clusterv1alpha1.Store)
		want   string
	}{
		"Type":  {func(s *clusterv1alpha1.Store) { s.Type = clusterv1alpha1.StoreMemory }, "spec.store.type cannot be changed"},
		"Size":  {func(s *clusterv1alpha1.Store) { s.Size = quantity("2Gi") }, "spec.store.size cannot be changed"},
		"Class": {func(s *clusterv1alpha1.Store) { s.StorageClassName = ptr.To("fast") }, "spec.store.storageClassName cannot be changed"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			vc, err := e.get(t, "store")
			if err != nil {
				t.Fatal(err)
			}
			tc.change(&vc.Spec.Store)
			if err := e.admin.Update(t.Context(), vc); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	vc, err := e.get(t, "store")
	if err != nil {
		t.Fatal(err)
	}
	e.checkID(t, vc)
	moved := vc.DeepCopy()
	moved.Spec.Scheduling = clusterv1alpha1.SchedulingTenant
	if err := e.admin.Update(t.Context(), moved); err == nil || !strings.Contains(err.Error(), "spec.scheduling cannot be changed") {
		t.Errorf("got %v, want an error that scheduling cannot be changed", err)
	}
	vc.Spec.Store.Size = quantity("1Gi")
	vc.Spec.PodSecurity = clusterv1alpha1.PodSecurityRestricted
	if err := e.admin.Update(t.Context(), vc); err != nil {
		t.Errorf("change what may be changed: %v", err)
	}
}

// checkID tries to exchange a virtual cluster's ID for another's.
func (e *environment) checkID(t *testing.T, vc *clusterv1alpha1.VirtualCluster) {
	vc.Status.ID = "kkkkaaaa"
	if err := e.admin.Status().Update(t.Context(), vc); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"llllaaaa", ""} {
		stolen := vc.DeepCopy()
		stolen.Status.ID = id
		if err := e.admin.Status().Update(t.Context(), stolen); err == nil || !strings.Contains(err.Error(), "status.id never changes") {
			t.Errorf("the ID may become %q: %v", id, err)
		}
	}
}

// checkConfinedAgent tries what a stolen agent would. Rights that it lacks by RBAC are given to it first: the policies
// must hold by themselves.
func (e *environment) checkConfinedAgent(t *testing.T) {
	e.create(t, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "too-much"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: agentUser}},
	})
	agent := e.agentClient(t)
	e.eventually(t, "the agent has all rights", func() error {
		return agent.List(t.Context(), &corev1.SecretList{}, client.InNamespace("kube-system"))
	})
	own := reservedNamespace(&clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "x", UID: "u"}}, "ggggaaaa")
	if err := agent.Create(t.Context(), own.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	if err := agent.Get(t.Context(), client.ObjectKeyFromObject(own), own); err != nil {
		t.Fatal(err)
	}
	allowed := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: own.Name, Name: "a"}}
	if err := agent.Create(t.Context(), allowed); err != nil {
		t.Errorf("the agent may not write in its own namespace: %v", err)
	}
	labels := map[string]string{mapping.LabelUID: "u", mapping.LabelID: "ggggaaaa"}
	ofAccount := own.DeepCopy()
	ofAccount.ObjectMeta = metav1.ObjectMeta{Name: "vcp-hhhhaaaa", Labels: maps.Clone(own.Labels)}
	ofAccount.Labels[mapping.LabelID], ofAccount.Labels[mapping.LabelAccount] = "hhhhaaaa", "team"
	if err := agent.Create(t.Context(), ofAccount); err != nil {
		t.Fatalf("make a namespace of an account: %v", err)
	}
	attempts := map[string]func() error{
		"ConfigMapElsewhere": func() error {
			return agent.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "a", Labels: labels}})
		},
		"SecretOfOtherName": func() error {
			return agent.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "a", Labels: labels}})
		},
		"SecretWithoutLabels": func() error {
			return agent.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "a-kubeconfig"}})
		},
		"SecretThatTheHostFills": func() error {
			return agent.Create(t.Context(), &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: "demo", Name: "a-kubeconfig", Labels: labels,
					Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"},
				},
				Type: corev1.SecretTypeServiceAccountToken,
			})
		},
		"NamespaceOfOtherName": func() error {
			stolen := own.DeepCopy()
			stolen.ObjectMeta = metav1.ObjectMeta{Name: "kube-other", Labels: own.Labels}
			return agent.Create(t.Context(), stolen)
		},
		"LabelKubeSystem": func() error {
			var namespace corev1.Namespace
			if err := agent.Get(t.Context(), client.ObjectKey{Name: "kube-system"}, &namespace); err != nil {
				return fmt.Errorf("get the Namespace kube-system: %w", err)
			}
			namespace.Labels = own.Labels
			return agent.Update(t.Context(), &namespace)
		},
		"MoveNamespace": func() error {
			moved := own.DeepCopy()
			moved.Labels[mapping.LabelUID] = "another"
			return agent.Update(t.Context(), moved)
		},
		"MoveToAnotherAccount": func() error {
			moved := ofAccount.DeepCopy()
			moved.Labels[mapping.LabelAccount] = "other"
			return agent.Update(t.Context(), moved)
		},
		"OutOfTheAccount": func() error {
			moved := ofAccount.DeepCopy()
			delete(moved.Labels, mapping.LabelAccount)
			return agent.Update(t.Context(), moved)
		},
		"DeleteForeignNamespace": func() error {
			return agent.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo"}})
		},
		"ClusterRole": func() error {
			return agent.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "mine", Labels: labels}})
		},
		"BindAdmin": func() error {
			return agent.Create(t.Context(), &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: own.Name, Name: "admin"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			})
		},
		"BindOthers": func() error {
			return agent.Create(t.Context(), &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: own.Name, Name: "others"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "matryoshka-agent-tenant"},
				Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "eve"}},
			})
		},
	}
	for name, attempt := range attempts {
		t.Run(name, func(t *testing.T) {
			err := attempt()
			if err == nil || !strings.Contains(err.Error(), "matryoshka-agent-confined") {
				t.Errorf("got %v, want a refusal by the policy", err)
			}
		})
	}
}

func (e *environment) checkReservedLabels(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "pretender", Labels: map[string]string{mapping.LabelKind: mapping.KindMapped}}}
	if err := e.admin.Create(t.Context(), namespace); err == nil || !strings.Contains(err.Error(), "set by the agent only") {
		t.Errorf("got %v, want a refusal of the label", err)
	}
	var own corev1.Namespace
	if err := e.admin.Get(t.Context(), client.ObjectKey{Name: "vcp-ggggaaaa"}, &own); err != nil {
		t.Fatal(err)
	}
	own.Labels["team"] = "a"
	if err := e.admin.Update(t.Context(), &own); err != nil {
		t.Errorf("another label: %v", err)
	}
	for _, subresource := range []string{"status", "finalize"} {
		var other corev1.Namespace
		if err := e.admin.Get(t.Context(), client.ObjectKey{Name: "demo"}, &other); err != nil {
			t.Fatal(err)
		}
		other.Labels[mapping.LabelKind] = mapping.KindMapped
		err := e.admin.SubResource(subresource).Update(t.Context(), &other)
		if err == nil || !strings.Contains(err.Error(), "set by the agent only") {
			t.Errorf("by way of %s: got %v, want a refusal of the label", subresource, err)
		}
	}
	delete(own.Labels, mapping.LabelUID)
	if err := e.admin.Update(t.Context(), &own); err == nil || !strings.Contains(err.Error(), "set by the agent only") {
		t.Errorf("got %v, want a refusal to take the label away", err)
	}
}
