package integration

import (
	"context"
	"encoding/json"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/grant"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

func merge(t *testing.T, body any) client.Patch {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return client.RawPatch(types.MergePatchType, raw)
}

// TestAttackAccounts: what a member of an account tries with the rights that it gives him, to have more spaces than he may, to be
// without the agent, or to keep what is taken from him.
func TestAttackAccounts(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	h.StartAgent(t, tenancytest.Parts{})
	h.Create(t, newAccount("own", user("eve")))
	h.Create(t, newAccount("foreign", user("victor")))
	eve := h.As(t, "eve")
	createSpace(t, h, eve, "own-a", "own")
	createSpace(t, h, h.As(t, "victor"), "foreign-a", "foreign")
	awaitReady(t, h, "own-a")
	awaitReady(t, h, "foreign-a")
	mustBeAbleTo(t, h, "eve works", makes(eve, "own-a"))
	mustBeAbleTo(t, h, "eve may change her space", func(ctx context.Context) error {
		return eve.Patch(ctx, newSpace("own-a", ""), merge(t, map[string]any{"metadata": map[string]any{"labels": map[string]any{"team": "a"}}}))
	})
	t.Run("OnSpaces", func(t *testing.T) { attackSpaces(t, h, eve) })
	t.Run("OnBindings", func(t *testing.T) { attackBindings(t, h, eve) })
	t.Run("OnVirtualClusters", func(t *testing.T) { attackVirtualClusters(t, h, eve) })
	t.Run("ByAdmins", func(t *testing.T) { checkWhatAdminsMay(t, h) })
}

func attackSpaces(t *testing.T, h *tenancytest.Host, eve client.Client) {
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "Namespace", Name: "gone", UID: "u"}
	withFinalizer, withOwner := newSpace("own-b", "own"), newSpace("own-b", "own")
	withFinalizer.Finalizers = []string{"example.org/forever"}
	withOwner.OwnerReferences = []metav1.OwnerReference{owner}
	patch := func(body map[string]any) error { return eve.Patch(t.Context(), newSpace("own-a", ""), merge(t, body)) }
	metadata := func(key string, value any) error {
		return patch(map[string]any{"metadata": map[string]any{key: value}})
	}
	for name, tc := range map[string]struct {
		attempt func() error
		want    string
	}{
		"InAForeignAccount": {func() error { return eve.Create(t.Context(), newSpace("own-b", "foreign")) }, `you may not make spaces in the account "foreign"`},
		"InNoAccount":       {func() error { return eve.Create(t.Context(), newSpace("own-b", "nothing")) }, `you may not make spaces in the account "nothing"`},
		"Moved":             {func() error { return patch(map[string]any{"spec": map[string]any{"account": "foreign"}}) }, "spec.account cannot be changed"},
		"MadeWithFinalizer": {func() error { return eve.Create(t.Context(), withFinalizer) }, "the finalizers of a space are written by the agent only"},
		"MadeWithOwner":     {func() error { return eve.Create(t.Context(), withOwner) }, "metadata.ownerReferences must not be changed"},
		"WithoutFinalizer":  {func() error { return metadata("finalizers", nil) }, "the finalizers of a space are written by the agent only"},
		"OtherFinalizer": {func() error {
			return metadata("finalizers", []string{tenancyv1alpha1.Finalizer, "example.org/forever"})
		}, "the finalizers of a space are written by the agent only"},
		"Owned":         {func() error { return metadata("ownerReferences", []metav1.OwnerReference{owner}) }, "metadata.ownerReferences must not be changed"},
		"NameOfTheHost": {func() error { return eve.Create(t.Context(), newSpace("kube-public", "own")) }, "the name is of a kind that is kept for the host cluster"},
		"NameOfATenant": {func() error { return eve.Create(t.Context(), newSpace("vc-abcdefgh-default", "own")) }, "the name is of a kind that is kept for the host cluster"},
		"AdoptionOfTheHosts": {func() error {
			return eve.Create(t.Context(), &tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: tenancyv1alpha1.SpaceSpec{Account: "own", Adopt: true}})
		}, "default"},
	} {
		t.Run(name, func(t *testing.T) { wantRefusal(t, tc.attempt(), tc.want) })
	}
	for name, attempt := range map[string]func(context.Context) error{
		"StatusOfASpace": func(ctx context.Context) error {
			return eve.Status().Patch(ctx, newSpace("own-a", ""), merge(t, map[string]any{"status": map[string]any{"namespaceUID": "x"}}))
		},
		"ForeignSpace":      func(ctx context.Context) error { return eve.Delete(ctx, newSpace("foreign-a", "")) },
		"ForeignNamespace":  makes(eve, "foreign-a"),
		"AllSpacesTogether": func(ctx context.Context) error { return eve.DeleteAllOf(ctx, &tenancyv1alpha1.Space{}) },
		"OwnNamespace": func(ctx context.Context) error {
			return eve.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "own-a"}})
		},
		"Slots": func(ctx context.Context) error {
			return eve.DeleteAllOf(ctx, &coordinationv1.Lease{}, client.InNamespace(tenancytest.SystemNamespace))
		},
		"OwnRole": func(ctx context.Context) error {
			return eve.Patch(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-account-own"}}, merge(t, map[string]any{"rules": nil}))
		},
	} {
		t.Run(name, func(t *testing.T) { mustNotBeAbleTo(t, h, name, attempt) })
	}
	// A space that is deleted in the foreground ends: the host's own finalizer is none of our business.
	createSpace(t, h, eve, "own-c", "own")
	mustBeAbleTo(t, h, "eve deletes in the foreground", func(ctx context.Context) error {
		return eve.Delete(ctx, newSpace("own-c", ""), client.PropagationPolicy(metav1.DeletePropagationForeground))
	})
	h.Eventually(t, "the space is gone", h.IsGone(t, newSpace("own-c", "")))
}

func attackBindings(t *testing.T, h *tenancytest.Host, eve client.Client) {
	bind := func(name, role string, labels map[string]string, subjects ...rbacv1.Subject) error {
		return eve.Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "own-a", Name: name, Labels: labels},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   subjects,
		})
	}
	account := func(namespace, name string) rbacv1.Subject {
		return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}
	}
	mustBeAbleTo(t, h, "eve binds a service account of her space", func(context.Context) error {
		return bind("programs", "edit", nil, account("own-a", "default"))
	})
	members := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "own-a", Name: "matryoshka-members"}}
	own := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "own-a", Name: "programs"}}
	people := "in a space only its own service accounts can be bound"
	for name, tc := range map[string]struct {
		attempt func() error
		want    string
	}{
		"HerselfTwice": {func() error { return bind("twice", "admin", nil, user("eve")) }, people},
		"AFriend":      {func() error { return bind("friend", "view", nil, user("mallory")) }, people},
		"Everybody": {func() error {
			return bind("all", "view", nil, rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:authenticated"})
		}, people},
		"AForeignProgram": {func() error { return bind("robot", "view", nil, account("foreign-a", "default")) }, people},
		"Later": {func() error {
			return eve.Patch(t.Context(), own.DeepCopy(), merge(t, map[string]any{"subjects": []rbacv1.Subject{user("eve")}}))
		}, people},
		"OurLabel": {func() error {
			return bind("ours", "view", map[string]string{mapping.LabelAccount: "own"}, account("own-a", "default"))
		}, "this RoleBinding is the agent's"},
		"OurName": {func() error { return bind("matryoshka-other", "view", nil, account("own-a", "default")) }, "this RoleBinding is the agent's"},
		"Ours": {func() error {
			return eve.Patch(t.Context(), members.DeepCopy(), merge(t, map[string]any{"metadata": map[string]any{"annotations": map[string]any{"a": "b"}}}))
		}, "this RoleBinding is the agent's"},
		"OursDeleted":  {func() error { return eve.Delete(t.Context(), members.DeepCopy()) }, "this RoleBinding is the agent's"},
		"AllOfThem":    {func() error { return eve.DeleteAllOf(t.Context(), &rbacv1.RoleBinding{}, client.InNamespace("own-a")) }, "this RoleBinding is the agent's"},
		"ClusterAdmin": {func() error { return bind("root", "cluster-admin", nil, account("own-a", "default")) }, "is attempting to grant RBAC permissions not currently held"},
	} {
		t.Run(name, func(t *testing.T) { wantRefusal(t, tc.attempt(), tc.want) })
	}
	// What there was before the rule can be written as it is, and loses nothing by a change of something else.
	h.Create(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "own-a", Name: "granted"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{user("guest")},
	})
	granted := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "own-a", Name: "granted"}}
	mustBeAbleTo(t, h, "eve labels a binding with a guest", func(ctx context.Context) error {
		return eve.Patch(ctx, granted, merge(t, map[string]any{"metadata": map[string]any{"labels": map[string]any{"a": "b"}}}))
	})
	if err := eve.Delete(t.Context(), granted); err != nil {
		t.Errorf("eve deletes a binding with a guest: %v", err)
	}
}

// attackVirtualClusters: one that is gone for the host while it still runs would make room for another.
func attackVirtualClusters(t *testing.T, h *tenancytest.Host, eve client.Client) {
	vc := &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{
		Namespace: "own-a", Name: "inner", Finalizers: []string{clusterv1alpha1.Finalizer, "example.org/own"},
	}}
	mustBeAbleTo(t, h, "eve makes a virtual cluster", func(ctx context.Context) error { return eve.Create(ctx, vc) })
	patch := func(finalizers ...string) error {
		return eve.Patch(t.Context(), vc.DeepCopy(), merge(t, map[string]any{"metadata": map[string]any{"finalizers": finalizers}}))
	}
	wantRefusal(t, patch("example.org/own"), "the finalizer is the agent's")
	if err := patch(clusterv1alpha1.Finalizer); err != nil {
		t.Errorf("eve takes a finalizer of her own off: %v", err)
	}
	if err := eve.Delete(t.Context(), vc.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, patch(), "the finalizer is the agent's")
	if err := h.Admin.Patch(t.Context(), vc.DeepCopy(), merge(t, map[string]any{"metadata": map[string]any{"finalizers": nil}})); err != nil {
		t.Errorf("an admin takes the agent's finalizer off: %v", err)
	}
}

// checkWhatAdminsMay: the rules for members do not bind those who look after the account.
func checkWhatAdminsMay(t *testing.T, h *tenancytest.Host) {
	h.Create(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "own-a", Name: "auditor"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{user("auditor")},
	})
	createSpace(t, h, h.As(t, "eve"), "own-d", "own")
	awaitReady(t, h, "own-d")
	if err := h.Admin.Patch(t.Context(), newSpace("own-d", ""), merge(t, map[string]any{"metadata": map[string]any{"finalizers": nil}})); err != nil {
		t.Errorf("an admin takes a finalizer off: %v", err)
	}
}

// TestSpaceRemovedByForce: a space whose finalizer an admin has taken off leaves its namespace, but no place and no access; and it can
// come back.
func TestSpaceRemovedByForce(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	h.Create(t, newAccount("forced", user("finn")))
	h.Create(t, newSpace("forced-a", "forced"))
	stop := h.StartAgent(t, tenancytest.Parts{})
	awaitReady(t, h, "forced-a")
	finn := h.As(t, "finn")
	mustBeAbleTo(t, h, "finn works", makes(finn, "forced-a"))
	stop() // or the finalizer would come back
	if err := h.Admin.Patch(t.Context(), newSpace("forced-a", ""), merge(t, map[string]any{"metadata": map[string]any{"finalizers": nil}})); err != nil {
		t.Fatal(err)
	}
	if err := h.Admin.Delete(t.Context(), newSpace("forced-a", "")); err != nil {
		t.Fatal(err)
	}
	h.StartAgent(t, tenancytest.Parts{})
	mustNotBeAbleTo(t, h, "finn works", makes(finn, "forced-a"))
	h.Eventually(t, "the place is free", func() error { return wantSpaces(getAccount(t, h, "forced"), 0) })
	mustBeActive(t, h, "forced-a")
	back := newSpace("forced-a", "forced")
	back.Spec.Adopt = true
	h.Create(t, back)
	awaitReason(t, h, "forced-a", tenancyv1alpha1.ReasonNamespaceTaken)
	if err := h.Admin.Patch(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "forced-a"}},
		merge(t, map[string]any{"metadata": map[string]any{"labels": map[string]any{mapping.LabelAdopt: "forced"}}})); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, h, "forced-a")
	mustBeAbleTo(t, h, "finn works again", makes(finn, "forced-a"))
}

// TestAttackWithTheAgentsRightsOnAccounts tries what a stolen agent would. Rights that it lacks by RBAC are given to it first: the
// policies must hold by themselves.
func TestAttackWithTheAgentsRightsOnAccounts(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	h.Create(t, newAccount("team", user("alice")))
	h.Create(t, newAccount("nobodys"))
	stop := h.StartAgent(t, tenancytest.Parts{})
	createSpace(t, h, h.Admin, "team-a", "team")
	awaitReady(t, h, "team-a")
	mustBeAbleTo(t, h, "the agent gives rights on the account", func(ctx context.Context) error {
		return h.Admin.Get(ctx, client.ObjectKey{Name: "matryoshka-account-team"}, &rbacv1.ClusterRoleBinding{})
	})
	stop()
	h.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "prod"}})
	h.Create(t, &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "inner"}})
	h.Create(t, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "too-much"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: tenancytest.AgentUser}},
	})
	agent := h.As(t, tenancytest.AgentUser)
	labels := map[string]string{mapping.LabelAccount: "team"}
	spaceLabels := map[string]string{mapping.LabelAccount: "team", mapping.LabelKind: mapping.KindSpace, mapping.LabelSpaceUID: "u"}
	role := func(name string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
		return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Rules: rules}
	}
	ref := func(name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
	}
	mustBeAbleTo(t, h, "the agent has all rights", func(ctx context.Context) error {
		return agent.List(ctx, &corev1.SecretList{}, client.InNamespace("team-a"))
	})
	mustBeAbleTo(t, h, "the agent writes in a space", func(ctx context.Context) error {
		return agent.Patch(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "matryoshka-members"}},
			merge(t, map[string]any{"metadata": map[string]any{"annotations": map[string]any{"a": "b"}}}))
	})
	// first is what gives people the first rights in an account that had nobody.
	first := func(bucket string) *rbacv1.ClusterRoleBinding {
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-account-nobodys", Labels: map[string]string{mapping.LabelAccount: "nobodys"}},
			RoleRef:    ref("matryoshka-account-nobodys"), Subjects: []rbacv1.Subject{user("mallory")},
		}
		if bucket != "" {
			binding.Labels[mapping.LabelAccountBucket] = bucket
		}
		return binding
	}
	const confined, grants, either = "matryoshka-agent-confined", "matryoshka-agent-grants", "matryoshka-agent-"
	for name, tc := range map[string]struct {
		attempt func() error
		want    string
	}{
		"NamespaceThatIsNotReleased": {func() error {
			return agent.Patch(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}, merge(t, map[string]any{"metadata": map[string]any{"labels": spaceLabels}}))
		}, confined},
		"NamespaceThatItReleasesItself": {func() error {
			return agent.Patch(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}, merge(t, map[string]any{"metadata": map[string]any{"labels": map[string]any{mapping.LabelAdopt: "team"}}}))
		}, confined},
		"SystemNamespace": {func() error {
			return agent.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-mine", Labels: spaceLabels}})
		}, confined},
		"SpaceOfAnotherAccount": {func() error {
			return agent.Patch(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}}, merge(t, map[string]any{"metadata": map[string]any{"labels": map[string]any{mapping.LabelAccount: "other"}}}))
		}, confined},
		"SecretInASpace": {func() error {
			return agent.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "x", Labels: labels}})
		}, confined},
		"OtherBindingInASpace": {func() error {
			return agent.Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "other", Labels: labels}, RoleRef: ref("admin")})
		}, confined},
		"StrangerInASpace": {func() error {
			return agent.Patch(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "matryoshka-members"}}, merge(t, map[string]any{"subjects": []rbacv1.Subject{user("mallory")}}))
		}, grants},
		"StrangerInAnAccount": {func() error {
			return agent.Patch(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-account-team"}}, merge(t, map[string]any{"subjects": []rbacv1.Subject{user("mallory")}}))
		}, grants},
		"StrangerByAnotherBucket": {func() error {
			return agent.Patch(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "matryoshka-members"}}, stranger(t, "1"))
		}, either},
		"StrangerByNoBucket": {func() error {
			return agent.Patch(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-account-team"}}, stranger(t, nil))
		}, either},
		"FirstStrangerByAnotherBucket": {func() error { return agent.Create(t.Context(), first("1")) }, "must be right"},
		"FirstStrangerByNoBucket":      {func() error { return agent.Create(t.Context(), first("")) }, "must be right"},
		"FirstStranger":                {func() error { return agent.Create(t.Context(), first(grant.Bucket("nobodys"))) }, grants},
		"AccountInAnotherBucket": {func() error {
			return agent.Patch(t.Context(), newAccount("team"), merge(t, map[string]any{"metadata": map[string]any{"labels": map[string]any{mapping.LabelAccountBucket: "1"}}}))
		}, "matryoshka-account-bucket"},
		"MoreForAnAccount": {func() error {
			return agent.Patch(t.Context(), newAccount("team"), merge(t, map[string]any{"spec": map[string]any{"subjects": []rbacv1.Subject{user("mallory")}}}))
		}, confined},
		"AnAccount":  {func() error { return agent.Create(t.Context(), newAccount("mine", user("mallory"))) }, confined},
		"RoleForAll": {func() error { return agent.Create(t.Context(), role("mine")) }, confined},
		"RoleToRead": {func() error {
			return agent.Update(t.Context(), role("matryoshka-account-team", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}, ResourceNames: []string{"x"}}))
		}, confined},
		"RoleNoNames": {func() error {
			return agent.Update(t.Context(), role("matryoshka-account-team", rbacv1.PolicyRule{APIGroups: []string{"tenancy.matryoshka.dev"}, Resources: []string{"spaces"}, Verbs: []string{"get", "update", "patch", "delete"}}))
		}, confined},
		"OtherRoleEverywhere": {func() error {
			return agent.Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-account-other", Labels: map[string]string{mapping.LabelAccount: "other"}}, RoleRef: ref("cluster-admin")})
		}, confined},
		"ForeignVirtualCluster": {func() error {
			return agent.Delete(t.Context(), &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "inner"}})
		}, confined},
		"ForeignLease": {func() error {
			return agent.Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: tenancytest.SystemNamespace, Name: "other"}})
		}, confined},
	} {
		t.Run(name, func(t *testing.T) { wantRefusal(t, tc.attempt(), tc.want) })
	}
	// An account that is in no bucket is looked at for all of them.
	if err := agent.Patch(t.Context(), newAccount("team"), merge(t, map[string]any{"metadata": map[string]any{"labels": map[string]any{mapping.LabelAccountBucket: nil}}})); err != nil {
		t.Fatal(err)
	}
	wantRefusalSoon(t, h, func(ctx context.Context) error {
		return agent.Patch(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "matryoshka-members"}},
			merge(t, map[string]any{"subjects": []rbacv1.Subject{user("mallory")}}), client.DryRunAll)
	}, grants)
}
