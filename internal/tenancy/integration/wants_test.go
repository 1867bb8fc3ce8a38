package integration

import (
	"fmt"
	"slices"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

func wantSpaces(account *tenancyv1alpha1.Account, want int32) error {
	if account.Status.Spaces != want {
		return fmt.Errorf("status.spaces is %d, want %d", account.Status.Spaces, want)
	}
	return nil
}

func wantCondition(account *tenancyv1alpha1.Account, kind string, want metav1.ConditionStatus) error {
	condition := apimeta.FindStatusCondition(account.Status.Conditions, kind)
	if condition == nil || condition.Status != want {
		return fmt.Errorf("the condition %s is %+v, want %s", kind, condition, want)
	}
	return nil
}

func wantLabel(object client.Object, key, want string) error {
	if got := object.GetLabels()[key]; got != want {
		return fmt.Errorf("the label %s is %q, want %q", key, got, want)
	}
	return nil
}

func wantNames(accounts, spaces []string) error {
	if !slices.Equal(accounts, []string{"one"}) || !slices.Equal(spaces, []string{"one-a"}) {
		return fmt.Errorf("got the accounts %v and the spaces %v", accounts, spaces)
	}
	return nil
}
