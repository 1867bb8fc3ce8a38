package visible

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// nowhere stands for "in no namespace" where a review of rules demands a namespace. No namespace can have this name, so
// no RoleBinding of a namespace adds its rules.
const nowhere = "_"

// Self reviews the user that the client's requests are made as, impersonated or not. Everybody may ask about themselves.
func Self(reviews client.Client) Reviewer { return self{reviews} }

type self struct{ reviews client.Client }

func (s self) Rules(ctx context.Context) ([]authorizationv1.ResourceRule, bool, error) {
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: nowhere}}
	if err := s.reviews.Create(ctx, review); err != nil {
		return nil, false, err
	}
	return review.Status.ResourceRules, review.Status.Incomplete, nil
}

func (s self) Allowed(ctx context.Context, what authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}
	if err := s.reviews.Create(ctx, review); err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// Other reviews somebody else, in the name of a client that may create SubjectAccessReviews. Kubernetes lists the rules of nobody
// but the asker, so its rules are always incomplete and names are found among the candidates only.
func Other(reviews client.Client, user authenticationv1.UserInfo) Reviewer {
	return other{reviews: reviews, user: user}
}

type other struct {
	reviews client.Client
	user    authenticationv1.UserInfo
}

func (o other) Rules(context.Context) ([]authorizationv1.ResourceRule, bool, error) {
	return nil, true, nil
}

func (o other) Allowed(ctx context.Context, what authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		ResourceAttributes: &what, User: o.user.Username, UID: o.user.UID, Groups: o.user.Groups,
	}}
	if len(o.user.Extra) > 0 {
		review.Spec.Extra = make(map[string]authorizationv1.ExtraValue, len(o.user.Extra))
		for key, values := range o.user.Extra {
			review.Spec.Extra[key] = authorizationv1.ExtraValue(values)
		}
	}
	if err := o.reviews.Create(ctx, review); err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}
