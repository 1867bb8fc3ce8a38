package integration

import (
	"context"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// TestAccessEnds: who is taken off an account, and everybody when it is suspended, loses his access whatever else is going on.
func TestAccessEnds(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	h.StartAgent(t, tenancytest.Parts{})
	t.Run("Removed", func(t *testing.T) { checkRemoved(t, h) })
	t.Run("RemovedWithoutTheRightToBind", func(t *testing.T) { checkRemovedWithoutBind(t, h) })
	t.Run("Suspended", func(t *testing.T) { checkSuspended(t, h) })
}

// checkRemoved takes a subject off while the space is not ready for two other reasons.
func checkRemoved(t *testing.T, h *tenancytest.Host) {
	h.Create(t, newAccount("leaving", user("gone"), user("stays")))
	gone, stays := h.As(t, "gone"), h.As(t, "stays")
	createSpace(t, h, gone, "leaving-a", "leaving")
	awaitReady(t, h, "leaving-a")
	mustBeAbleTo(t, h, "who goes later works", makes(gone, "leaving-a"))
	editAccount(t, h, "leaving", func(spec *tenancyv1alpha1.AccountSpec) {
		spec.Spaces.Template = &tenancyv1alpha1.SpaceTemplateUse{Name: "missing"}
		spec.Spaces.Limit = new(int32(0))
		spec.Subjects = []rbacv1.Subject{user("stays"), user("new")}
	})
	mustNotBeAbleTo(t, h, "who has gone works", makes(gone, "leaving-a"))
	mustNotBeAbleTo(t, h, "who has gone makes a space", func(ctx context.Context) error {
		return gone.Create(ctx, newSpace("leaving-b", "leaving"))
	})
	mustNotBeAbleTo(t, h, "who has gone looks", func(ctx context.Context) error {
		return gone.Get(ctx, client.ObjectKey{Name: "leaving-a"}, &tenancyv1alpha1.Space{})
	})
	awaitReason(t, h, "leaving-a", "WaitingForTemplates")
	mustBeAbleTo(t, h, "who stays works", makes(stays, "leaving-a"))
}

// checkRemovedWithoutBind: the agent needs a right to give something, and none to take it away.
func checkRemovedWithoutBind(t *testing.T, h *tenancytest.Host) {
	h.Create(t, newAccount("unbound", user("una"), user("uwe")))
	una := h.As(t, "una")
	createSpace(t, h, una, "unbound-a", "unbound")
	awaitReady(t, h, "unbound-a")
	mustBeAbleTo(t, h, "una works", makes(una, "unbound-a"))
	roles := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-agent-space-roles"}}
	if err := h.Admin.Get(t.Context(), client.ObjectKeyFromObject(roles), roles); err != nil {
		t.Fatal(err)
	}
	if err := h.Admin.Delete(t.Context(), roles.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	agent := h.As(t, tenancytest.AgentUser)
	h.Eventually(t, "the agent may not bind any more", func() error {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "bind", Group: rbacv1.GroupName, Resource: "clusterroles", Name: "admin"},
		}}
		if err := agent.Create(t.Context(), review); err != nil {
			return err
		}
		if review.Status.Allowed {
			return errAllowed
		}
		return nil
	})
	editAccount(t, h, "unbound", func(spec *tenancyv1alpha1.AccountSpec) { spec.Subjects = []rbacv1.Subject{user("uwe")} })
	mustNotBeAbleTo(t, h, "una works", makes(una, "unbound-a"))
	awaitReason(t, h, "unbound-a", "ClusterRoleNotGranted")
	roles.ResourceVersion = ""
	h.Create(t, roles)
}

func checkSuspended(t *testing.T, h *tenancytest.Host) {
	h.Create(t, newAccount("paused", user("paula"), rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "robot"}))
	paula, robot := h.As(t, "paula"), h.As(t, "system:serviceaccount:default:robot")
	createSpace(t, h, paula, "paused-a", "paused")
	awaitReady(t, h, "paused-a")
	mustBeAbleTo(t, h, "paula works", makes(paula, "paused-a"))
	mustBeAbleTo(t, h, "the robot works", makes(robot, "paused-a"))
	if err := paula.Create(t.Context(), newConfigMap("paused-a", "kept")); err != nil {
		t.Fatal(err)
	}
	// A way that leads around the subjects: a service account of the space that may do what paula may.
	mustBeAbleTo(t, h, "paula binds a service account", func(ctx context.Context) error {
		return paula.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "paused-a", Name: "back-door"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "paused-a", Name: "door"}},
		})
	})
	// A host's admin has given dora rights that have nothing to do with the account.
	h.Create(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "paused-a", Name: "of-the-host"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{user("dora")},
	})
	door, dora := h.As(t, "system:serviceaccount:paused-a:door"), h.As(t, "dora")
	mustBeAbleTo(t, h, "the service account works", makes(door, "paused-a"))
	mustBeAbleTo(t, h, "dora works", makes(dora, "paused-a"))

	editAccount(t, h, "paused", func(spec *tenancyv1alpha1.AccountSpec) { spec.Suspended = true })
	mustNotBeAbleTo(t, h, "paula works", makes(paula, "paused-a"))
	mustNotBeAbleTo(t, h, "the robot works", makes(robot, "paused-a"))
	mustNotBeAbleTo(t, h, "paula makes a space", func(ctx context.Context) error { return paula.Create(ctx, newSpace("paused-b", "paused")) })
	mustNotBeAbleTo(t, h, "paula deletes a space", func(ctx context.Context) error { return paula.Delete(ctx, newSpace("paused-a", "")) })
	awaitReason(t, h, "paused-a", tenancyv1alpha1.ReasonSuspended)
	h.Eventually(t, "the namespace is marked", func() error {
		var namespace corev1.Namespace
		if err := h.Admin.Get(t.Context(), client.ObjectKey{Name: "paused-a"}, &namespace); err != nil {
			return err
		}
		return wantLabel(&namespace, "matryoshka.dev/suspended", "true")
	})
	for _, somebody := range []client.Client{door, dora} {
		wantRefusalSoon(t, h, makes(somebody, "paused-a"), "the account is suspended")
	}
	// What runs goes on: a program of the space, known by its pod, and the controllers of the host.
	program := h.ConfigOf("system:serviceaccount:paused-a:door")
	program.Impersonate.Extra = map[string][]string{"authentication.kubernetes.io/pod-name": {"door-0"}}
	running, err := client.New(program, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustBeAbleTo(t, h, "a program of the space works", makes(running, "paused-a"))
	mustBeAbleTo(t, h, "the host's admin works", makes(h.Admin, "paused-a"))
	h.Create(t, newSpace("paused-c", "paused"))
	awaitReason(t, h, "paused-c", tenancyv1alpha1.ReasonSuspended)
	if err := h.IsGone(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "paused-c"}})(); err != nil {
		t.Errorf("nothing new begins: %v", err)
	}

	editAccount(t, h, "paused", func(spec *tenancyv1alpha1.AccountSpec) { spec.Suspended = false })
	mustBeAbleTo(t, h, "paula works again", makes(paula, "paused-a"))
	mustBeAbleTo(t, h, "the service account works again", makes(door, "paused-a"))
	if err := paula.Get(t.Context(), client.ObjectKey{Namespace: "paused-a", Name: "kept"}, &corev1.ConfigMap{}); err != nil {
		t.Errorf("what paula had: %v", err)
	}
}
