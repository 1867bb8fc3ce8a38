package integration

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// strict are rules that limit everything.
func strict(t *testing.T, change func(*tenancyv1alpha1.AccountSpec)) rules.Rules {
	t.Helper()
	account := &tenancyv1alpha1.Account{
		ObjectMeta: metav1.ObjectMeta{Name: "strict", Generation: 1},
		Spec: tenancyv1alpha1.AccountSpec{
			StorageClasses:    &tenancyv1alpha1.AllowedClasses{Names: []string{"slow", "fast"}},
			IngressClasses:    &tenancyv1alpha1.AllowedClasses{Names: []string{"public"}},
			RuntimeClasses:    &tenancyv1alpha1.AllowedClasses{Names: []string{"safe"}},
			NodeSelector:      map[string]string{"pool": "shared", "zone": ""},
			PriorityClassName: "tenants",
			Tolerations: []corev1.Toleration{
				{Key: "gpu", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
				{Key: "team", Operator: corev1.TolerationOpEqual, Value: "a"},
				{Key: "short", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(60))},
			},
			PodSecurity: tenancyv1alpha1.AccountPodSecurity{Maximum: tenancyv1alpha1.PodSecurityBaseline},
		},
	}
	if change != nil {
		change(&account.Spec)
	}
	made, err := rules.FromAccount(account, "")
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// TestPolicies: each rule holds in a namespace of the account against a member who may do everything there, and a namespace of no
// account knows nothing of any.
func TestPolicies(t *testing.T) {
	w := newWorld(t)
	held := strict(t, nil)
	w.space(t, "strict", held)
	w.space(t, "free", rules.Rules{Account: "free"})
	w.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "outside"}})
	w.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "outside", Name: "account"}})
	w.awaitPolicies(t)

	t.Run("Pods", func(t *testing.T) { w.checkPods(t) })
	t.Run("DefaultsOfPods", func(t *testing.T) { w.checkPodDefaults(t) })
	t.Run("PodsOfNoAccount", func(t *testing.T) { w.checkFreePods(t) })
	t.Run("ChangesOfPods", func(t *testing.T) { w.checkPodChanges(t) })
	t.Run("Claims", func(t *testing.T) { w.checkClaims(t) })
	t.Run("Ingresses", func(t *testing.T) { w.checkIngresses(t) })
	t.Run("VirtualClusters", func(t *testing.T) { w.checkVirtualClusters(t) })
	t.Run("VirtualClustersOfNoAccount", func(t *testing.T) { w.checkFreeVirtualClusters(t) })
	t.Run("WithoutRules", func(t *testing.T) { w.checkWithoutRules(t) })
	t.Run("ReservedAnnotations", func(t *testing.T) { w.checkReservedAnnotations(t) })
}

// awaitPolicies waits until each of them has refused something.
func (w *world) awaitPolicies(t *testing.T) {
	t.Helper()
	forged := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "forged", Annotations: map[string]string{rules.AnnotationGeneration: "1"}}}
	w.eventually(t, "what a pod does not say is filled in", func() error {
		return errors.Join( // by one whose rights must be known, too
			w.member.Create(t.Context(), pod("strict", func(*corev1.PodSpec) {}), client.DryRunAll),
			w.member.Create(t.Context(), pod("free", func(*corev1.PodSpec) {}), client.DryRunAll),
		)
	})
	vc := newVirtualCluster("strict", func(spec *clusterv1alpha1.VirtualClusterSpec) { spec.PodSecurity = "privileged" })
	for policy, object := range map[string]client.Object{
		"pods": pod("strict", func(spec *corev1.PodSpec) { spec.PriorityClassName = "important" }), "claims": newClaim("strict", nil, ""), "ingresses": newIngress("strict", nil, ""),
		"virtualclusters": vc, "rules": forged,
	} {
		w.refused(t, func() error {
			copied, _ := object.DeepCopyObject().(client.Object)
			return w.admin.Create(t.Context(), copied, client.DryRunAll)
		}, "matryoshka-account-"+policy)
	}
}

func pod(namespace string, change func(*corev1.PodSpec)) *corev1.Pod {
	made := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "pod-"},
		Spec: corev1.PodSpec{
			ServiceAccountName: "account", AutomountServiceAccountToken: new(false),
			Containers: []corev1.Container{{Name: "c", Image: "example.org/image"}},
		},
	}
	change(&made.Spec)
	return made
}

// fit makes a pod one that the strict account may have.
func fit(spec *corev1.PodSpec) {
	spec.NodeSelector = map[string]string{"pool": "shared", "zone": "", "own": "x"}
	spec.PriorityClassName = "tenants"
}

func tolerating(toleration corev1.Toleration) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) { spec.Tolerations = append(spec.Tolerations, toleration) }
}

// attempt tries a creation for show. Want is what the refusal must say; empty means that it must be allowed.
func attempt(t *testing.T, actor client.Client, object client.Object, want string) {
	t.Helper()
	err := actor.Create(t.Context(), object, client.DryRunAll)
	check(t, err, want)
}

func (w *world) checkPods(t *testing.T) {
	cases := map[string]struct {
		change func(*corev1.PodSpec)
		want   string
	}{
		"Fit":          {func(*corev1.PodSpec) {}, ""},
		"AllowedClass": {func(spec *corev1.PodSpec) { spec.RuntimeClassName = new("safe") }, ""},
		"OtherClass":   {func(spec *corev1.PodSpec) { spec.RuntimeClassName = new("raw") }, "does not allow the RuntimeClass raw; allowed: safe"},
		// What is not said is filled in.
		"NoPriority":    {func(spec *corev1.PodSpec) { spec.PriorityClassName = "" }, ""},
		"Priority":      {func(spec *corev1.PodSpec) { spec.PriorityClassName = "important" }, "have spec.priorityClassName tenants and no other"},
		"NoSelector":    {func(spec *corev1.PodSpec) { spec.NodeSelector = nil }, ""},
		"HalfSelector":  {func(spec *corev1.PodSpec) { delete(spec.NodeSelector, "zone") }, ""},
		"OtherSelector": {func(spec *corev1.PodSpec) { spec.NodeSelector["pool"] = "other" }, "need these labels in spec.nodeSelector: pool=shared,zone="},
		"NodeName":      {func(spec *corev1.PodSpec) { spec.NodeName = "node-1" }, "spec.nodeName goes past the scheduler"},
		"NodeGone": {tolerating(corev1.Toleration{
			Key: corev1.TaintNodeUnreachable, Operator: "Exists", Effect: "NoExecute", TolerationSeconds: new(int64(5)),
		}), ""},
		"NodeGoneForAll":  {tolerating(corev1.Toleration{Key: corev1.TaintNodeUnreachable, Operator: "Exists"}), "of the taints: node.kubernetes.io/unreachable"},
		"Everything":      {tolerating(corev1.Toleration{Operator: "Exists"}), "of the taints: (every taint)"},
		"EverythingAtAll": {tolerating(corev1.Toleration{Operator: "Exists", Effect: "NoSchedule"}), "of the taints: (every taint)"},
		"ControlPlane":    {tolerating(corev1.Toleration{Key: "node-role.kubernetes.io/control-plane", Operator: "Exists", Effect: "NoSchedule"}), "node-role.kubernetes.io/control-plane"},
		"Pressure":        {tolerating(corev1.Toleration{Key: corev1.TaintNodeDiskPressure, Operator: "Exists", Effect: "NoSchedule"}), "disk-pressure"},
		"Granted":         {tolerating(corev1.Toleration{Key: "gpu", Operator: "Exists", Effect: "NoSchedule"}), ""},
		"GrantedInPart":   {tolerating(corev1.Toleration{Key: "gpu", Value: "x", Effect: "NoSchedule"}), ""},
		"MoreEffects":     {tolerating(corev1.Toleration{Key: "gpu", Operator: "Exists"}), "of the taints: gpu"},
		"OtherValue":      {tolerating(corev1.Toleration{Key: "team", Value: "b"}), "of the taints: team"},
		"EveryValue":      {tolerating(corev1.Toleration{Key: "team", Operator: "Exists"}), "of the taints: team"},
		"Value":           {tolerating(corev1.Toleration{Key: "team", Value: "a", Effect: "NoSchedule"}), ""},
		"Shorter":         {tolerating(corev1.Toleration{Key: "short", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: new(int64(60))}), ""},
		"ForEver":         {tolerating(corev1.Toleration{Key: "short", Operator: "Exists", Effect: "NoExecute"}), "of the taints: short"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			made := pod("strict", fit)
			tc.change(&made.Spec)
			attempt(t, w.member, made, tc.want)
			// Nobody is above the rules: not those who made them either.
			attempt(t, w.agent, made.DeepCopy(), tc.want)
		})
	}
}

// checkFreePods: rules that limit nothing leave out only what goes past the scheduler, and outside of accounts nothing holds.
func (w *world) checkFreePods(t *testing.T) {
	attempt(t, w.member, pod("free", func(spec *corev1.PodSpec) { spec.RuntimeClassName = new("raw") }), "")
	attempt(t, w.member, pod("free", func(spec *corev1.PodSpec) { spec.PriorityClassName = "important" }), "have no spec.priorityClassName")
	attempt(t, w.member, pod("free", func(spec *corev1.PodSpec) { spec.NodeName = "node-1" }), "spec.nodeName goes past the scheduler")
	attempt(t, w.member, pod("free", tolerating(corev1.Toleration{Operator: "Exists"})), "(every taint)")
	attempt(t, w.admin, pod("outside", func(spec *corev1.PodSpec) {
		spec.PriorityClassName, spec.NodeName, spec.Tolerations = "important", "node-1", []corev1.Toleration{{Operator: "Exists"}}
	}), "")
}

// checkPodChanges: a pod that was made under other rules can be changed and ended, but gets no further toleration.
func (w *world) checkPodChanges(t *testing.T) {
	w.space(t, "changes", strict(t, nil))
	made := pod("changes", fit)
	made.Finalizers = []string{"example.org/hold"}
	tolerating(corev1.Toleration{Key: "gpu", Operator: "Exists", Effect: "NoSchedule"})(&made.Spec)
	w.eventually(t, "a pod is made", func() error { return w.member.Create(t.Context(), made) })
	w.change(t, "changes", rules.Rules{Account: "strict", RuntimeClasses: rules.OnlyClasses(), PriorityClass: "important"})

	greedy := made.DeepCopy()
	tolerating(corev1.Toleration{Operator: "Exists"})(&greedy.Spec)
	check(t, w.member.Update(t.Context(), greedy, client.DryRunAll), "(every taint)")
	labelled := made.DeepCopy()
	labelled.Labels = map[string]string{"a": "b"}
	check(t, w.member.Update(t.Context(), labelled), "")
	if err := w.member.Delete(t.Context(), labelled, client.GracePeriodSeconds(0)); err != nil {
		t.Fatalf("delete it: %v", err)
	}
	released := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	check(t, w.member.Patch(t.Context(), labelled, released), "")
}

func (w *world) checkClaims(t *testing.T) {
	cases := map[string]struct {
		class      *string
		annotation string
		want       string
	}{
		"Allowed":            {new("fast"), "", ""},
		"Other":              {new("gold"), "", `does not allow the StorageClass "gold"; set spec.storageClassName to one that is allowed: fast,slow`},
		"None":               {nil, "", `does not allow the StorageClass ""`},
		"NoneAtAll":          {new(""), "", `does not allow the StorageClass ""`},
		"Annotation":         {new("fast"), "gold", `does not allow the StorageClass "fast", "gold"`},
		"OnlyAnnotation":     {nil, "fast", `does not allow`},
		"AllowedInBothForms": {new("fast"), "slow", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) { attempt(t, w.member, newClaim("strict", tc.class, tc.annotation), tc.want) })
	}
	attempt(t, w.member, newClaim("free", new("gold"), ""), "")
}

func (w *world) checkIngresses(t *testing.T) {
	attempt(t, w.member, newIngress("strict", new("public"), ""), "")
	attempt(t, w.member, newIngress("strict", nil, "public"), "")
	attempt(t, w.member, newIngress("strict", new("internal"), ""), `does not allow the IngressClass "internal"`)
	attempt(t, w.member, newIngress("strict", nil, "internal"), `does not allow the IngressClass "internal"`)
	attempt(t, w.member, newIngress("strict", nil, ""), "does not allow an Ingress without a class")
	attempt(t, w.member, newIngress("free", nil, ""), "")

	made := newIngress("strict", new("public"), "")
	if err := w.member.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	made.Annotations = map[string]string{"kubernetes.io/ingress.class": "internal"}
	check(t, w.member.Update(t.Context(), made), "does not allow the IngressClass")
}

func (w *world) checkVirtualClusters(t *testing.T) {
	cases := map[string]struct {
		change func(*clusterv1alpha1.VirtualClusterSpec)
		want   string
	}{
		"Default":    {func(*clusterv1alpha1.VirtualClusterSpec) {}, ""},
		"Restricted": {func(spec *clusterv1alpha1.VirtualClusterSpec) { spec.PodSecurity = "restricted" }, ""},
		"Privileged": {func(spec *clusterv1alpha1.VirtualClusterSpec) { spec.PodSecurity = "privileged" }, "spec.podSecurity privileged is more than the account strict allows: baseline"},
		"OwnNodes":   {func(spec *clusterv1alpha1.VirtualClusterSpec) { spec.Nodes.Selector = map[string]string{"disk": "ssd"} }, ""},
		"OtherNodes": {func(spec *clusterv1alpha1.VirtualClusterSpec) {
			spec.Nodes.Selector = map[string]string{"pool": "other"}
		}, "spec.nodes.selector contradicts the nodes of the account strict: pool=shared,zone="},
		"Store":        {func(spec *clusterv1alpha1.VirtualClusterSpec) { spec.Store.StorageClassName = new("slow") }, ""},
		"OtherStore":   {func(spec *clusterv1alpha1.VirtualClusterSpec) { spec.Store.StorageClassName = new("gold") }, "does not allow the StorageClass of spec.store.storageClassName; allowed: fast,slow"},
		"WithoutFence": {func(spec *clusterv1alpha1.VirtualClusterSpec) { spec.Network.Isolation = new(false) }, "spec.network.isolation cannot be switched off in a space"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) { attempt(t, w.member, newVirtualCluster("strict", tc.change), tc.want) })
	}
	attempt(t, w.admin, newVirtualCluster("outside", func(spec *clusterv1alpha1.VirtualClusterSpec) {
		spec.PodSecurity, spec.Network.Isolation = "privileged", new(false)
	}), "")

	// One that was made before the account was limited further can be changed otherwise, looked after and ended.
	w.space(t, "former", strict(t, func(spec *tenancyv1alpha1.AccountSpec) {
		spec.PodSecurity.Maximum, spec.NodeSelector, spec.StorageClasses = "privileged", nil, nil
	}))
	former := newVirtualCluster("former", func(spec *clusterv1alpha1.VirtualClusterSpec) {
		spec.PodSecurity, spec.Nodes.Selector, spec.Store.StorageClassName = "privileged", map[string]string{"pool": "other"}, new("gold")
	})
	former.Finalizers = []string{clusterv1alpha1.Finalizer}
	w.eventually(t, "it is made", func() error { return w.member.Create(t.Context(), former) })
	w.change(t, "former", strict(t, func(spec *tenancyv1alpha1.AccountSpec) {
		spec.PodSecurity, spec.Suspended = tenancyv1alpha1.AccountPodSecurity{Default: "restricted", Maximum: "restricted"}, true
	}))
	other := newVirtualCluster("former", func(spec *clusterv1alpha1.VirtualClusterSpec) { spec.PodSecurity = "restricted" })
	other.Name = "other"
	check(t, w.member.Create(t.Context(), other, client.DryRunAll), "the account strict is suspended")

	former.Spec.Paused = true
	check(t, w.member.Update(t.Context(), former), "")
	former.Status.ServerName = "x"
	check(t, w.agent.Status().Update(t.Context(), former), "")
	wider := former.DeepCopy()
	wider.Spec.PodSecurity = "baseline"
	check(t, w.member.Update(t.Context(), wider, client.DryRunAll), "spec.podSecurity baseline is more than the account strict allows: restricted")
	check(t, w.member.Delete(t.Context(), former), "")
	released := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	check(t, w.agent.Patch(t.Context(), former, released), "")
}

// checkWithoutRules: a namespace that belongs to an account and has no rules allows nothing new.
func (w *world) checkWithoutRules(t *testing.T) {
	w.space(t, "unruled", rules.Rules{Account: "strict"})
	var namespace corev1.Namespace
	if err := w.admin.Get(t.Context(), client.ObjectKey{Name: "unruled"}, &namespace); err != nil {
		t.Fatal(err)
	}
	namespace.Annotations = nil
	if err := w.agent.Update(t.Context(), &namespace); err != nil {
		t.Fatal(err)
	}
	const words = "the rules of the account are not in this namespace yet"
	w.refused(t, func() error {
		return w.member.Create(t.Context(), pod("unruled", func(*corev1.PodSpec) {}), client.DryRunAll)
	}, words)
	attempt(t, w.member, &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "unruled", Name: "shop"}}, words)
}

// checkReservedAnnotations: the rules are the agent's to write, by whatever way.
func (w *world) checkReservedAnnotations(t *testing.T) {
	const words = "the annotations of account.matryoshka.dev are set by the agent only"
	forged := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "forged", Annotations: map[string]string{rules.AnnotationGeneration: "1"}}}
	attempt(t, w.admin, forged, words)
	for name, change := range map[string]func(map[string]string){
		"Changed": func(annotations map[string]string) { annotations["account.matryoshka.dev/runtime-classes"] = "raw" },
		"Removed": func(annotations map[string]string) { delete(annotations, "account.matryoshka.dev/runtime-classes") },
		"Added":   func(annotations map[string]string) { annotations["account.matryoshka.dev/suspended"] = "true" },
	} {
		t.Run(name, func(t *testing.T) {
			var namespace corev1.Namespace
			if err := w.admin.Get(t.Context(), client.ObjectKey{Name: "strict"}, &namespace); err != nil {
				t.Fatal(err)
			}
			change(namespace.Annotations)
			check(t, w.member.Update(t.Context(), &namespace, client.DryRunAll), words)
			check(t, w.admin.Update(t.Context(), namespace.DeepCopy(), client.DryRunAll), words)
			check(t, w.admin.SubResource("status").Update(t.Context(), namespace.DeepCopy()), words)
		})
	}
	var namespace corev1.Namespace
	if err := w.admin.Get(t.Context(), client.ObjectKey{Name: "strict"}, &namespace); err != nil {
		t.Fatal(err)
	}
	namespace.Annotations["mine"] = "yes"
	check(t, w.admin.Update(t.Context(), &namespace), "")
	if namespace.Labels[mapping.LabelAccount] != "strict" {
		t.Errorf("its labels are %v", namespace.Labels)
	}
}

func newClaim(namespace string, class *string, annotation string) *corev1.PersistentVolumeClaim {
	made := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "data-"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	if annotation != "" {
		made.Annotations = map[string]string{corev1.BetaStorageClassAnnotation: annotation}
	}
	return made
}

func newIngress(namespace string, class *string, annotation string) *networkingv1.Ingress {
	made := &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "web-"},
		Spec: networkingv1.IngressSpec{
			IngressClassName: class,
			DefaultBackend: &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
				Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80},
			}},
		},
	}
	if annotation != "" {
		made.Annotations = map[string]string{"kubernetes.io/ingress.class": annotation}
	}
	return made
}

// checkFreeVirtualClusters: people with the role edit in a namespace of no account get no more of the host by a virtual cluster than they
// have, and can still change and delete what an admin has made there.
func (w *world) checkFreeVirtualClusters(t *testing.T) {
	w.create(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "outside", Name: "editors"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "matryoshka-edit"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: member}},
	})
	plain := newVirtualCluster("outside", func(*clusterv1alpha1.VirtualClusterSpec) {})
	w.eventually(t, "an editor may make virtual clusters", func() error { return w.member.Create(t.Context(), plain.DeepCopy(), client.DryRunAll) })
	privileged := newVirtualCluster("outside", func(spec *clusterv1alpha1.VirtualClusterSpec) { spec.PodSecurity = "privileged" })
	open := newVirtualCluster("outside", func(spec *clusterv1alpha1.VirtualClusterSpec) { spec.Network.Isolation = new(false) })
	attempt(t, w.member, privileged.DeepCopy(), "spec.podSecurity privileged is for people who may change this namespace")
	attempt(t, w.member, open.DeepCopy(), "spec.network.isolation can be switched off only by people who may change this namespace")
	attempt(t, w.admin, open.DeepCopy(), "")

	w.create(t, privileged)
	var made clusterv1alpha1.VirtualCluster
	if err := w.member.Get(t.Context(), client.ObjectKeyFromObject(privileged), &made); err != nil {
		t.Fatal(err)
	}
	made.Spec.Paused = true
	check(t, w.member.Update(t.Context(), &made), "")
	check(t, w.member.Delete(t.Context(), &made), "")
}

func newVirtualCluster(namespace string, change func(*clusterv1alpha1.VirtualClusterSpec)) *clusterv1alpha1.VirtualCluster {
	made := &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "shop"}}
	change(&made.Spec)
	return made
}
