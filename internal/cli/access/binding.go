package access

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// pageSize bounds what one call of the host's API returns.
const pageSize = 500

// bootstrapLabel marks what every Kubernetes brings with it.
const bootstrapLabel = "kubernetes.io/bootstrapping"

// Ref names an object.
type Ref struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func (r Ref) String() string {
	if r.Namespace != "" {
		return r.Kind + " " + r.Namespace + "/" + r.Name
	}
	return r.Kind + " " + r.Name
}

// Binding is a binding of the cluster or of the namespace, in one form.
type Binding struct {
	Ref `json:",inline"`
	// Account that the agent has made it for. Empty means that it is somebody else's.
	Account string `json:"account,omitempty"`
	Role    Ref    `json:"role"`

	subjects  []rbacv1.Subject
	isDefault bool
}

// bindings are those that can give what is asked.
func bindings(ctx context.Context, cluster client.Reader, namespace string) ([]Binding, error) {
	var all []Binding
	err := pages(ctx, cluster, func() client.ObjectList { return &rbacv1.ClusterRoleBindingList{} }, func(list client.ObjectList) {
		for _, binding := range list.(*rbacv1.ClusterRoleBindingList).Items {
			all = append(all, bindingOf("ClusterRoleBinding", &binding, binding.RoleRef, binding.Subjects))
		}
	})
	if err != nil || namespace == "" {
		return all, err
	}
	err = pages(ctx, cluster, func() client.ObjectList { return &rbacv1.RoleBindingList{} }, func(list client.ObjectList) {
		for _, binding := range list.(*rbacv1.RoleBindingList).Items {
			all = append(all, bindingOf("RoleBinding", &binding, binding.RoleRef, binding.Subjects))
		}
	}, client.InNamespace(namespace))
	return all, err
}

func bindingOf(kind string, object client.Object, role rbacv1.RoleRef, subjects []rbacv1.Subject) Binding {
	binding := Binding{
		Ref:     Ref{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName()},
		Account: object.GetLabels()[mapping.LabelAccount], Role: Ref{Kind: role.Kind, Name: role.Name},
		subjects: subjects, isDefault: object.GetLabels()[bootstrapLabel] != "",
	}
	if role.Kind == "Role" {
		binding.Role.Namespace = binding.Namespace
	}
	return binding
}

func pages(ctx context.Context, cluster client.Reader, empty func() client.ObjectList, add func(client.ObjectList), options ...client.ListOption) error {
	for next := ""; ; {
		page := empty()
		if err := cluster.List(ctx, page, append(options, client.Limit(pageSize), client.Continue(next))...); err != nil {
			return fmt.Errorf("list bindings: %w", err)
		}
		add(page)
		if next = page.GetContinue(); next == "" {
			return nil
		}
	}
}

// roles reads each role once.
type roles struct {
	cluster client.Reader
	known   map[Ref]*role
}

// role is what a role holds. One that does not exist holds nothing.
type role struct {
	rules  []rbacv1.PolicyRule
	exists bool
}

func (r *roles) get(ctx context.Context, ref Ref) (*role, error) {
	if known, found := r.known[ref]; found {
		return known, nil
	}
	result := &role{exists: true}
	var err error
	key := client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}
	if ref.Kind == "Role" {
		object := &rbacv1.Role{}
		err = r.cluster.Get(ctx, key, object)
		result.rules = object.Rules
	} else {
		object := &rbacv1.ClusterRole{}
		err = r.cluster.Get(ctx, key, object)
		result.rules = object.Rules
	}
	if apierrors.IsNotFound(err) {
		result, err = &role{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", ref, err)
	}
	r.known[ref] = result
	return result, nil
}
