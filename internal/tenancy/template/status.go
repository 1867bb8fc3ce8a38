package template

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/notice"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/report"
)

// maxRepaired is how many objects the status names that were set back.
const maxRepaired = 20

func listed(item *item) tenancyv1alpha1.TemplatedObject {
	object := tenancyv1alpha1.TemplatedObject{
		APIVersion: item.wanted.GetAPIVersion(), Kind: item.wanted.GetKind(), Name: item.wanted.GetName(), State: item.state,
	}
	if item.live != nil {
		object.UID = item.live.GetUID()
	}
	return object
}

// key is what makes two entries the same object: its version may change.
func key(object tenancyv1alpha1.TemplatedObject) tenancyv1alpha1.TemplatedObject {
	return tenancyv1alpha1.TemplatedObject{APIVersion: schema.FromAPIVersionAndKind(object.APIVersion, object.Kind).Group, Kind: object.Kind, Name: object.Name}
}

// list takes the items into the status. What it lists beside them stays, since it may still be there.
func (a *attempt) list(items []*item) {
	listing := make([]tenancyv1alpha1.TemplatedObject, 0, len(items))
	for _, item := range items {
		listing = append(listing, listed(item))
	}
	for _, object := range a.status.Objects {
		isThere := func(other tenancyv1alpha1.TemplatedObject) bool { return key(other) == key(object) }
		if !slices.ContainsFunc(listing, isThere) {
			listing = append(listing, object)
		}
	}
	a.status.Objects = listing
}

// announce writes down what is about to be made, where the status does not have it yet.
func (a *attempt) announce(ctx context.Context, items []*item) error {
	before := len(a.status.Objects)
	a.list(items)
	if len(a.status.Objects) == before {
		return nil
	}
	condition := metav1.Condition{Status: metav1.ConditionFalse, Reason: tenancyv1alpha1.ReasonApplying, Message: "The objects are being applied"}
	for _, present := range a.instance.Status.Conditions {
		if present.Type == tenancyv1alpha1.ConditionReady {
			condition = present
		}
	}
	return a.report(ctx, condition.Status, condition.Reason, condition.Message)
}

// note takes what was done into the status.
func (a *attempt) note(ctx context.Context, made *rendered, items []*item, done outcome) {
	a.status.Objects = nil
	for _, item := range items {
		a.status.Objects = append(a.status.Objects, listed(item))
	}
	now := metav1.Now()
	if repaired := append(slices.Clone(done.changed), done.created...); a.isSame && a.status.FirstApplied != nil && len(repaired) > 0 {
		a.status.Repairs++
		a.status.LastRepair = &tenancyv1alpha1.TemplateRepair{Time: now}
		for _, item := range repaired[:min(len(repaired), maxRepaired)] {
			a.status.LastRepair.Objects = append(a.status.LastRepair.Objects, item.name())
		}
		a.log.Info("Set objects of a template back", "namespace", a.instance.Namespace, "instance", a.instance.Name, "objects", a.status.LastRepair.Objects)
		a.tell(ctx, corev1.EventTypeNormal, "Repaired", "Set back what somebody had changed or removed: "+strings.Join(a.status.LastRepair.Objects, ", "))
	}
	if a.status.FirstApplied == nil {
		a.status.FirstApplied = &now
	}
	// A fingerprint of secrets could be used to try values.
	a.status.Rendered = ""
	if !made.HasSecrets {
		a.status.Rendered = made.fingerprint
	}
	a.memory.settle(a.instance.UID, made.fingerprint, items)
}

// tell writes an event. It is no harm when that fails: the status says it, too.
func (a *attempt) tell(ctx context.Context, eventType, reason, message string) {
	if err := notice.Tell(ctx, a.host, a.instance, a.instance.Namespace, eventType, reason, cut(message)); err != nil {
		a.log.Warn("Cannot write an event", "namespace", a.instance.Namespace, "instance", a.instance.Name, "error", err)
	}
}

// tellProblem tells what somebody has to mend, once.
func (a *attempt) tellProblem(ctx context.Context, reason, message string) {
	before := meta.FindStatusCondition(a.instance.Status.Conditions, tenancyv1alpha1.ConditionReady)
	switch reason {
	case tenancyv1alpha1.ReasonSuspended, tenancyv1alpha1.ReasonAsleep, tenancyv1alpha1.ReasonNotASpace, tenancyv1alpha1.ReasonNoAccount:
		return
	}
	if before == nil || before.Reason != reason || before.ObservedGeneration != a.instance.Generation {
		a.tell(ctx, corev1.EventTypeWarning, reason, message)
	}
}

// report writes the status.
func (a *attempt) report(ctx context.Context, ready metav1.ConditionStatus, reason, message string) error {
	what := "Template/" + a.instance.Spec.Template
	if a.instance.Spec.SpaceTemplate != "" {
		what = "SpaceTemplate/" + a.instance.Spec.SpaceTemplate
	}
	part := report.Part{
		Fields: map[string]any{"template": what},
		Conditions: []metav1.Condition{{
			Type: tenancyv1alpha1.ConditionReady, Status: ready, Reason: reason, Message: cut(message),
		}},
	}
	if a.status.Objects != nil {
		part.Fields["objects"] = a.status.Objects
	}
	if a.status.Rendered != "" {
		part.Fields["rendered"] = a.status.Rendered
	}
	if a.status.FirstApplied != nil {
		part.Fields["firstApplied"] = a.status.FirstApplied
	}
	if a.status.MadeOnce {
		part.Fields["madeOnce"] = true
	}
	if a.status.Repairs != 0 {
		part.Fields["repairs"] = a.status.Repairs
	}
	if a.status.LastRepair != nil {
		part.Fields["lastRepair"] = a.status.LastRepair
	}
	if len(a.status.ImagePullSecrets) > 0 {
		part.Fields["imagePullSecrets"] = a.status.ImagePullSecrets
	}
	return report.Write(ctx, a.host, a.instance, a.instance.Status.Conditions, fieldManager, part)
}
