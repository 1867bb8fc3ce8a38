package access

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// place is where it is to be done: a namespace and the account that it belongs to. Both may be missing.
type place struct {
	namespace *corev1.Namespace
	// isMissing is that the namespace does not exist.
	isMissing bool

	accountName string
	account     *tenancyv1alpha1.Account
	space       *tenancyv1alpha1.Space
}

// placeOf looks at the namespace of the question, or at the space or account that it is about.
func placeOf(ctx context.Context, cluster client.Reader, question *Question) (*place, error) {
	p := &place{}
	switch {
	case question.Namespace != "":
		namespace := &corev1.Namespace{}
		err := cluster.Get(ctx, client.ObjectKey{Name: question.Namespace}, namespace)
		if apierrors.IsNotFound(err) {
			p.isMissing = true
			return p, nil
		}
		if err != nil {
			return nil, fmt.Errorf("get namespace %q: %w", question.Namespace, err)
		}
		p.namespace = namespace
		p.accountName = namespace.Labels[mapping.LabelAccount]
		if namespace.Labels[mapping.LabelKind] == mapping.KindSpace {
			p.space = find(ctx, cluster, question.Namespace, &tenancyv1alpha1.Space{})
		}
	case question.Group == tenancyv1alpha1.GroupVersion.Group && question.Resource == "accounts":
		p.accountName = question.Name
	case question.Group == tenancyv1alpha1.GroupVersion.Group && question.Resource == "spaces" && question.Name != "":
		if p.space = find(ctx, cluster, question.Name, &tenancyv1alpha1.Space{}); p.space != nil {
			p.accountName = p.space.Spec.Account
		}
	}
	if p.accountName != "" {
		p.account = find(ctx, cluster, p.accountName, &tenancyv1alpha1.Account{})
	}
	return p, nil
}

// find reads an object that helps to explain. Without it the explanation is shorter.
func find[T client.Object](ctx context.Context, cluster client.Reader, name string, into T) T {
	if cluster.Get(ctx, client.ObjectKey{Name: name}, into) != nil {
		var none T
		return none
	}
	return into
}

// missing says what is wrong with the place or with the account behind it.
func (p *place) missing(question *Question) []string {
	if p.isMissing {
		return []string{fmt.Sprintf("there is no namespace %q", question.Namespace)}
	}
	var sentences []string
	if p.namespace != nil {
		labels := p.namespace.Labels
		switch labels[mapping.LabelKind] {
		case mapping.KindMapped, mapping.KindControl:
			sentences = append(sentences, fmt.Sprintf(
				"the namespace is one of virtual cluster %s/%s, where nobody but the agent has rights; inside it its own roles hold: `matry connect virtualcluster %s -n %s`",
				labels[mapping.LabelNamespace], labels[mapping.LabelName], labels[mapping.LabelName], labels[mapping.LabelNamespace]))
			return sentences
		}
	}
	if p.accountName != "" {
		sentences = append(sentences, p.missingOfAccount(question)...)
	}
	if p.space != nil {
		condition := meta.FindStatusCondition(p.space.Status.Conditions, tenancyv1alpha1.ConditionReady)
		if condition != nil && condition.Status != "True" && condition.Reason != tenancyv1alpha1.ReasonSuspended {
			sentences = append(sentences, fmt.Sprintf("space %q is not ready: %s: %s", p.space.Name, condition.Reason, condition.Message))
		}
	}
	return sentences
}

func (p *place) missingOfAccount(question *Question) []string {
	if p.account == nil {
		return []string{fmt.Sprintf("there is no account %q", p.accountName)}
	}
	var sentences []string
	if p.account.Spec.Suspended {
		sentences = append(sentences, fmt.Sprintf("account %q is suspended, so that its people have no access; `matry edit account %s` lifts it", p.accountName, p.accountName))
	}
	if question.matching(p.account.Spec.Subjects, "") == nil {
		sentences = append(sentences, fmt.Sprintf("they are no subject of account %q, which is %s; `matry edit account %s` adds them",
			p.accountName, subjectsText(p.account.Spec.Subjects), p.accountName))
	}
	return sentences
}

// notes say what holds beside the rights: policies refuse what RBAC allows.
func (p *place) notes(question *Question) []string {
	writes := !slices.Contains([]string{"get", "list", "watch"}, question.Verb)
	if p.namespace == nil || p.namespace.Labels[mapping.LabelSuspended] != "true" || !writes {
		return nil
	}
	return []string{fmt.Sprintf("account %q is suspended: a policy of the host cluster refuses changes in this namespace whoever has the right, but admins of the account", p.accountName)}
}
