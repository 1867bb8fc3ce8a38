package report_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/report"
)

func TestChanged(t *testing.T) {
	own := report.Changed(func(account *tenancyv1alpha1.Account) any {
		return []any{account.Status.Spaces, report.Said(account.Status.Conditions, "Ready", "Mine")}
	})
	ready := func(status metav1.ConditionStatus, reason, message string) tenancyv1alpha1.Account {
		return tenancyv1alpha1.Account{Status: tenancyv1alpha1.AccountStatus{
			Spaces: 1, Conditions: []metav1.Condition{{Type: "Ready", Status: status, Reason: reason, Message: message}},
		}}
	}
	before := ready("True", "Ready", "")
	other := ready("True", "Ready", "")
	other.Labels = map[string]string{"a": "b"}
	other.Status.VirtualClusters = 1
	other.Status.Conditions = append(other.Status.Conditions, metav1.Condition{Type: "Theirs", Status: "True"})
	counted := ready("True", "Ready", "")
	counted.Status.Spaces = 2
	added := ready("True", "Ready", "")
	added.Status.Conditions = append(added.Status.Conditions, metav1.Condition{Type: "Mine", Status: "True"})
	for name, c := range map[string]struct {
		after tenancyv1alpha1.Account
		want  bool
	}{
		"Same":           {before, false},
		"OfOthers":       {other, false},
		"Message":        {ready("True", "Ready", "since a while"), false},
		"Status":         {ready("False", "Ready", ""), true},
		"Reason":         {ready("True", "Other", ""), true},
		"Field":          {counted, true},
		"ConditionAdded": {added, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := own.Update(event.UpdateEvent{ObjectOld: &before, ObjectNew: &c.after}); got != c.want {
				t.Errorf("let through: %t, want %t", got, c.want)
			}
		})
	}
	if own.Create(event.CreateEvent{Object: &before}) || own.Delete(event.DeleteEvent{Object: &before}) || own.Update(event.UpdateEvent{ObjectOld: &tenancyv1alpha1.Space{}, ObjectNew: &before}) {
		t.Error("what is no update of an account is let through")
	}
}
