package integration

import (
	"context"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// TestSpaces: an admin makes an account, its people make spaces and use them, and others do not even learn of them.
func TestSpaces(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	h.StartAgent(t, tenancytest.Parts{})
	t.Run("OfMembers", func(t *testing.T) { checkSpacesOfMembers(t, h) })
	t.Run("LimitIsALine", func(t *testing.T) { checkLimit(t, h) })
	t.Run("Repaired", func(t *testing.T) { checkRepair(t, h) })
	t.Run("Adopted", func(t *testing.T) { checkAdoption(t, h) })
	t.Run("Initial", func(t *testing.T) { checkInitial(t, h) })
	t.Run("WithoutAccount", func(t *testing.T) { checkWithoutAccount(t, h) })
	t.Run("RoleThatIsNotGranted", func(t *testing.T) { checkMissingRole(t, h) })
	t.Run("TemplatesFirst", func(t *testing.T) { checkTemplatesFirst(t, h) })
}

func checkSpacesOfMembers(t *testing.T, h *tenancytest.Host) {
	h.Create(t, newAccount("team", user("alice"), rbacv1.Subject{Kind: rbacv1.GroupKind, Name: "developers"}))
	alice, bob, carol := h.As(t, "alice"), h.As(t, "bob"), h.As(t, "carol", "developers")
	createSpace(t, h, alice, "team-web", "team")
	awaitReady(t, h, "team-web")
	mustBeAbleTo(t, h, "alice works in her space", makes(alice, "team-web"))
	mustBeAbleTo(t, h, "carol works in the space by her group", makes(carol, "team-web"))
	mustBeAbleTo(t, h, "alice sees her space", func(ctx context.Context) error {
		return alice.Get(ctx, client.ObjectKey{Name: "team-web"}, &tenancyv1alpha1.Space{})
	})
	mustBeAbleTo(t, h, "alice sees her account", func(ctx context.Context) error {
		return alice.Get(ctx, client.ObjectKey{Name: "team"}, &tenancyv1alpha1.Account{})
	})
	for who, calls := range map[string][]func(context.Context) error{
		"bob works in a foreign space": {makes(bob, "team-web")},
		"bob sees a foreign space": {func(ctx context.Context) error {
			return bob.Get(ctx, client.ObjectKey{Name: "team-web"}, &tenancyv1alpha1.Space{})
		}},
		"bob makes a space": {func(ctx context.Context) error { return bob.Create(ctx, newSpace("bobs", "team")) }},
		"somebody lists spaces": {
			func(ctx context.Context) error { return alice.List(ctx, &tenancyv1alpha1.SpaceList{}) },
			func(ctx context.Context) error { return bob.List(ctx, &tenancyv1alpha1.SpaceList{}) },
			func(ctx context.Context) error { return alice.List(ctx, &tenancyv1alpha1.AccountList{}) },
		},
		"alice gives herself more": {func(ctx context.Context) error {
			return alice.Patch(ctx, newAccount("team"), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"spaces":{"limit":99}}}`)))
		}},
		"alice changes the namespace": {func(ctx context.Context) error {
			return alice.Patch(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-web"}}, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"a":"b"}}}`)))
		}},
		"alice works elsewhere": {makes(alice, "default")},
	} {
		for _, call := range calls {
			mustNotBeAbleTo(t, h, who, call)
		}
	}
	var namespace corev1.Namespace
	if err := h.Admin.Get(t.Context(), client.ObjectKey{Name: "team-web"}, &namespace); err != nil {
		t.Fatal(err)
	}
	space, err := getSpace(t, h, "team-web")
	if err != nil {
		t.Fatal(err)
	}
	if namespace.UID != space.Status.NamespaceUID {
		t.Errorf("the status has the UID %q, the namespace %q", space.Status.NamespaceUID, namespace.UID)
	}
	if namespace.Labels[mapping.LabelAccount] != "team" || namespace.Labels["pod-security.kubernetes.io/enforce"] != "baseline" {
		t.Errorf("the namespace has the labels %v", namespace.Labels)
	}
	if err := alice.Delete(t.Context(), newSpace("team-web", "team")); err != nil {
		t.Fatalf("alice cannot delete her space: %v", err)
	}
	h.Eventually(t, "the space is gone", h.IsGone(t, newSpace("team-web", "team")))
	h.Eventually(t, "its namespace is gone", h.IsGone(t, &namespace))
	h.Eventually(t, "the account has no space", func() error {
		return wantSpaces(getAccount(t, h, "team"), 0)
	})
}

func checkLimit(t *testing.T, h *tenancytest.Host) {
	account := newAccount("limited", user("lea"))
	account.Spec.Spaces.Limit = new(int32(2))
	h.Create(t, account)
	lea := h.As(t, "lea")
	for _, name := range []string{"limited-a", "limited-b"} {
		createSpace(t, h, lea, name, "limited")
		awaitReady(t, h, name)
	}
	createSpace(t, h, lea, "limited-c", "limited")
	message := awaitReason(t, h, "limited-c", tenancyv1alpha1.ReasonLimitReached)
	if want := `The account "limited" has 2 of 2 spaces; this one is made when another is deleted or the limit is raised`; message != want {
		t.Errorf("got the message %q, want %q", message, want)
	}
	if err := h.IsGone(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "limited-c"}})(); err != nil {
		t.Errorf("above the limit: %v", err)
	}
	// A limit below what there is evicts nothing, and what becomes free is not given away.
	editAccount(t, h, "limited", func(spec *tenancyv1alpha1.AccountSpec) { spec.Spaces.Limit = new(int32(1)) })
	h.Eventually(t, "the account is over its limit", func() error {
		return wantCondition(getAccount(t, h, "limited"), tenancyv1alpha1.ConditionWithinLimits, metav1.ConditionFalse)
	})
	awaitReady(t, h, "limited-a")
	mustBeAbleTo(t, h, "lea deletes a space", func(ctx context.Context) error { return lea.Delete(ctx, newSpace("limited-a", "")) })
	h.Eventually(t, "the space is gone", h.IsGone(t, newSpace("limited-a", "")))
	h.Eventually(t, "the account is within its limit", func() error {
		return wantCondition(getAccount(t, h, "limited"), tenancyv1alpha1.ConditionWithinLimits, metav1.ConditionTrue)
	})
	awaitReason(t, h, "limited-c", tenancyv1alpha1.ReasonLimitReached)
	mustBeAbleTo(t, h, "lea deletes a space", func(ctx context.Context) error { return lea.Delete(ctx, newSpace("limited-b", "")) })
	awaitReady(t, h, "limited-c")
}

func checkRepair(t *testing.T, h *tenancytest.Host) {
	h.Create(t, newAccount("repaired", user("rita")))
	rita := h.As(t, "rita")
	createSpace(t, h, rita, "repaired-a", "repaired")
	awaitReady(t, h, "repaired-a")
	mustBeAbleTo(t, h, "rita works in her space", makes(rita, "repaired-a"))
	binding := &rbacv1.RoleBinding{}
	if err := h.Admin.Get(t.Context(), client.ObjectKey{Namespace: "repaired-a", Name: "matryoshka-members"}, binding); err != nil {
		t.Fatal(err)
	}
	binding.Subjects = append(binding.Subjects, user("mallory"))
	if err := h.Admin.Update(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	mustNotBeAbleTo(t, h, "mallory works in the space", makes(h.As(t, "mallory"), "repaired-a"))
	if err := h.Admin.Delete(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	mustBeAbleTo(t, h, "rita works in her space again", makes(rita, "repaired-a"))
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-account-repaired"}}
	mustBeAbleTo(t, h, "somebody edits the role", func(ctx context.Context) error { // while the agent may
		if err := h.Admin.Get(ctx, client.ObjectKeyFromObject(role), role); err != nil {
			return err
		}
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"list"}})
		return h.Admin.Update(ctx, role)
	})
	mustNotBeAbleTo(t, h, "rita lists secrets", func(ctx context.Context) error {
		return rita.List(ctx, &corev1.SecretList{}, client.InNamespace("default"))
	})
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "repaired-a"}}
	if err := h.Admin.Patch(t.Context(), namespace, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`))); err != nil {
		t.Fatal(err)
	}
	h.Eventually(t, "the pod security is back", func() error {
		if err := h.Admin.Get(t.Context(), client.ObjectKeyFromObject(namespace), namespace); err != nil {
			return err
		}
		return wantLabel(namespace, "pod-security.kubernetes.io/enforce", "baseline")
	})
	// Another level, another role.
	editAccount(t, h, "repaired", func(spec *tenancyv1alpha1.AccountSpec) {
		spec.PodSecurity.Default, spec.Spaces.ClusterRole = tenancyv1alpha1.PodSecurityRestricted, "view"
	})
	mustNotBeAbleTo(t, h, "rita works with the role view", makes(rita, "repaired-a"))
	mustBeAbleTo(t, h, "rita looks with the role view", func(ctx context.Context) error {
		return rita.List(ctx, &corev1.ConfigMapList{}, client.InNamespace("repaired-a"))
	})
	h.Eventually(t, "the pod security is changed", func() error {
		if err := h.Admin.Get(t.Context(), client.ObjectKeyFromObject(namespace), namespace); err != nil {
			return err
		}
		return wantLabel(namespace, "pod-security.kubernetes.io/enforce", "restricted")
	})
}

func checkAdoption(t *testing.T, h *tenancytest.Host) {
	h.Create(t, newAccount("adopters", user("ada")))
	h.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "legacy"}})
	h.Create(t, newConfigMap("legacy", "old"))
	ada := h.As(t, "ada")
	createSpace(t, h, ada, "legacy", "adopters")
	awaitReason(t, h, "legacy", tenancyv1alpha1.ReasonNamespaceTaken)
	mustNotBeAbleTo(t, h, "ada works in a foreign namespace", makes(ada, "legacy"))
	mustBeAbleTo(t, h, "ada deletes her space", func(ctx context.Context) error { return ada.Delete(ctx, newSpace("legacy", "")) })
	h.Eventually(t, "the space is gone", h.IsGone(t, newSpace("legacy", "")))
	if err := h.Admin.Get(t.Context(), client.ObjectKey{Namespace: "legacy", Name: "old"}, &corev1.ConfigMap{}); err != nil {
		t.Fatalf("what was in the foreign namespace: %v", err)
	}
	adopting := newSpace("legacy", "adopters")
	adopting.Spec.Adopt = true
	wantRefusal(t, ada.Create(t.Context(), adopting.DeepCopy()), `only who may delete the namespace "legacy" can make it a space`)
	h.Create(t, adopting.DeepCopy())
	awaitReason(t, h, "legacy", tenancyv1alpha1.ReasonNamespaceTaken)
	release := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"matryoshka.dev/adopt":"adopters"}}}`))
	if err := h.Admin.Patch(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "legacy"}}, release); err != nil {
		t.Fatal(err)
	}
	// The label of a namespace that is not the agent's is not watched.
	touch(t, h, "legacy")
	awaitReady(t, h, "legacy")
	mustBeAbleTo(t, h, "ada sees what was there", func(ctx context.Context) error {
		return ada.Get(ctx, client.ObjectKey{Namespace: "legacy", Name: "old"}, &corev1.ConfigMap{})
	})
	system := newSpace("kube-system", "adopters")
	if err := h.Admin.Create(t.Context(), system); err == nil {
		t.Error("kube-system may become a space")
	}
}

// touch makes the agent look at a space again.
func touch(t *testing.T, h *tenancytest.Host, name string) {
	t.Helper()
	// The spec is what it was, but its generation is another.
	for _, sleep := range []string{`{"barePods":"Keep"}`, `null`} {
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"sleep":`+sleep+`}}`))
		if err := h.Admin.Patch(t.Context(), newSpace(name, ""), patch); err != nil {
			t.Fatal(err)
		}
	}
}

func checkInitial(t *testing.T, h *tenancytest.Host) {
	h.Create(t, newSpace("theirs", "nobody"))
	account := newAccount("beginners", user("ben"))
	account.Spec.Spaces.Initial = []string{"first", "second", "theirs"}
	h.Create(t, account)
	awaitReady(t, h, "first")
	awaitReady(t, h, "second")
	h.Eventually(t, "the third is reported", func() error {
		return wantCondition(getAccount(t, h, "beginners"), tenancyv1alpha1.ConditionInitialSpaces, metav1.ConditionFalse)
	})
	ben := h.As(t, "ben")
	mustBeAbleTo(t, h, "ben deletes his space", func(ctx context.Context) error { return ben.Delete(ctx, newSpace("first", "")) })
	h.Eventually(t, "the first is gone", h.IsGone(t, newSpace("first", "")))
	editAccount(t, h, "beginners", func(spec *tenancyv1alpha1.AccountSpec) { spec.Spaces.Initial = []string{"first", "second", "third"} })
	awaitReady(t, h, "third")
	if err := h.IsGone(t, newSpace("first", ""))(); err != nil {
		t.Errorf("what ben has deleted: %v", err)
	}
}

func checkWithoutAccount(t *testing.T, h *tenancytest.Host) {
	h.Create(t, newSpace("early", "late"))
	awaitReason(t, h, "early", tenancyv1alpha1.ReasonNoAccount)
	h.Create(t, newAccount("late"))
	awaitReady(t, h, "early")
	if err := h.Admin.Delete(t.Context(), newAccount("late")); err != nil {
		t.Fatal(err)
	}
	h.Eventually(t, "the account is gone", h.IsGone(t, newAccount("late")))
	for _, object := range []client.Object{
		newSpace("early", ""), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "early"}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-account-late"}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-account-late"}},
	} {
		if err := h.IsGone(t, object)(); err != nil {
			t.Errorf("an account takes all of its own with it: %v", err)
		}
	}
}

func checkMissingRole(t *testing.T, h *tenancytest.Host) {
	h.Create(t, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "special"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"*"}}},
	})
	account := newAccount("special", user("sam"))
	account.Spec.Spaces.ClusterRole = "special"
	h.Create(t, account)
	h.Create(t, newSpace("special-a", "special"))
	awaitReason(t, h, "special-a", "ClusterRoleNotGranted")
	editAccount(t, h, "special", func(spec *tenancyv1alpha1.AccountSpec) { spec.Spaces.ClusterRole = "admin" })
	awaitReady(t, h, "special-a")
}

func checkTemplatesFirst(t *testing.T, h *tenancytest.Host) {
	account := newAccount("templated", user("tim"))
	account.Spec.Spaces.Template = &tenancyv1alpha1.SpaceTemplateUse{Name: "fence"}
	h.Create(t, account)
	tim := h.As(t, "tim")
	createSpace(t, h, tim, "templated-a", "templated")
	awaitReason(t, h, "templated-a", "WaitingForTemplates")
	mustNotBeAbleTo(t, h, "tim works without the templates", makes(tim, "templated-a"))
	setTemplates(t, h, "templated-a", metav1.ConditionTrue)
	awaitReady(t, h, "templated-a")
	mustBeAbleTo(t, h, "tim works with the templates", makes(tim, "templated-a"))
}

// setTemplates says what who applies templates would.
func setTemplates(t *testing.T, h *tenancytest.Host, name string, status metav1.ConditionStatus) {
	t.Helper()
	h.Eventually(t, "the templates are reported", func() error {
		space, err := getSpace(t, h, name)
		if err != nil {
			return err
		}
		apimeta.SetStatusCondition(&space.Status.Conditions, metav1.Condition{
			Type: tenancyv1alpha1.ConditionTemplatesApplied, Status: status, Reason: "Tested", Message: "as the test says",
		})
		return h.Admin.Status().Update(t.Context(), space)
	})
}

// mine asks the API server what somebody may do, and reads from it what is his.
func mine(ctx context.Context, somebody client.Client) (accounts, spaces []string, err error) {
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "default"}}
	if err := somebody.Create(ctx, review); err != nil {
		return nil, nil, err
	}
	for _, rule := range review.Status.ResourceRules {
		if len(rule.Resources) != 1 || len(rule.APIGroups) != 1 || rule.APIGroups[0] != tenancyv1alpha1.GroupVersion.Group {
			continue
		}
		switch rule.Resources[0] {
		case "accounts":
			accounts = append(accounts, rule.ResourceNames...)
		case "spaces":
			spaces = append(spaces, rule.ResourceNames...)
		}
	}
	return accounts, spaces, nil
}
