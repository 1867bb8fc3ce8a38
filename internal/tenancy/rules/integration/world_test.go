package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// member is somebody who may do everything within their spaces.
const member = "eve"

// world is a host with the chart installed. Its admin is nobody special to the policies; its agent is.
type world struct {
	admin, agent, member client.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	h := tenancytest.NewHost(t, nil)
	w := &world{admin: h.Admin, agent: h.As(t, tenancytest.AgentUser), member: h.As(t, member)}
	w.freeAgent(t)
	for _, class := range []client.Object{
		&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "safe"}, Handler: "safe"},
		&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "raw"}, Handler: "raw"},
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "tenants"}, Value: 10},
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "important"}, Value: 1000},
		&networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "public"}, Spec: networkingv1.IngressClassSpec{Controller: "example.org/public"}},
	} {
		w.create(t, class)
	}
	return w
}

// freeAgent gives the agent every right: what confines it is tested elsewhere, here it makes what others may not.
func (w *world) freeAgent(t *testing.T) {
	t.Helper()
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-agent-confined"}}
	if err := w.admin.Delete(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	w.create(t, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "free-agent"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: tenancytest.AgentUser}},
	})
}

func (w *world) create(t *testing.T, object client.Object) {
	t.Helper()
	if err := w.admin.Create(t.Context(), object); err != nil {
		t.Fatalf("create %T %s: %v", object, object.GetName(), err)
	}
}

// space makes a namespace of the account, as the agent does, and waits until its rules are enforced. Everybody in it is a
// full administrator of it: what is refused then the policies refuse.
func (w *world) space(t *testing.T, name string, held rules.Rules) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{mapping.LabelKind: mapping.KindSpace}}}
	held.Put(&namespace.ObjectMeta)
	w.eventually(t, "the namespace "+name+" is made", func() error { return w.agent.Create(t.Context(), namespace.DeepCopy()) })
	w.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "account"}})
	w.create(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "members"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: member}},
	})
}

// eventually waits: rights and policies take a moment.
func (w *world) eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 90*time.Second, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: not so in time: %v", what, last)
	}
}

// refused waits until something is refused in these words: the host needs a moment to compile its policies, and for a namespace's
// new annotations to reach them.
func (w *world) refused(t *testing.T, attempt func() error, words string) {
	t.Helper()
	w.eventually(t, "a refusal with "+words, func() error {
		err := attempt()
		if err == nil {
			return fmt.Errorf("it was allowed")
		}
		if !strings.Contains(err.Error(), words) {
			return fmt.Errorf("it was refused otherwise: %w", err)
		}
		return nil
	})
}

// change gives a namespace other rules and waits until they are enforced.
func (w *world) change(t *testing.T, name string, held rules.Rules) {
	t.Helper()
	var namespace corev1.Namespace
	if err := w.admin.Get(t.Context(), client.ObjectKey{Name: name}, &namespace); err != nil {
		t.Fatal(err)
	}
	// The rules themselves tell whether the policies have them: a pod is refused in their words.
	probe := "probe-" + fmt.Sprint(time.Now().UnixNano())
	held.RuntimeClasses = rules.OnlyClasses("safe", probe)
	held.Put(&namespace.ObjectMeta)
	if err := w.agent.Update(t.Context(), &namespace); err != nil {
		t.Fatal(err)
	}
	refusedOnly := pod(name, func(spec *corev1.PodSpec) {
		spec.PriorityClassName, spec.NodeSelector, spec.RuntimeClassName = held.PriorityClass, held.NodeSelector, new("raw")
	})
	w.refused(t, func() error { return w.member.Create(t.Context(), refusedOnly.DeepCopy(), client.DryRunAll) }, probe)
}

// check compares an outcome with what a refusal must say; empty means that there must be none.
func check(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("it was refused: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want a refusal with %q", err, want)
	}
}
