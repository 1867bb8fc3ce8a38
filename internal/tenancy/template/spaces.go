package template

import (
	"context"
	"fmt"
	"log/slog"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/report"
)

// The instances of space templates in a space.
const (
	// accountInstance is of the template that the account gives to all of its spaces.
	accountInstance = "matryoshka-account"
	// spaceInstance is of the template that the space names itself.
	spaceInstance = "matryoshka-space"
)

// spaceManager owns what the controller of spaces' templates says on spaces.
const spaceManager = client.FieldOwner("matryoshka-space-template")

// Spaces is the controller that gives spaces the instances of their space templates, and says on a space when they were all in
// place. That is said once for ever: what becomes of a template later locks nobody out.
type Spaces struct {
	options *Options
	host    client.Client
	cached  client.Reader
	log     *slog.Logger
}

var _ reconcile.Reconciler = (*Spaces)(nil)

// Reconcile looks at one space.
func (s *Spaces) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var space tenancyv1alpha1.Space
	if err := s.cached.Get(ctx, request.NamespacedName, &space); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !space.DeletionTimestamp.IsZero() || space.Status.NamespaceUID == "" {
		return reconcile.Result{}, nil
	}
	work, leave, ok := s.options.Shards.Enter(ctx, space.UID)
	if !ok {
		return reconcile.Result{}, nil // another replica's; it comes again when this one gains it
	}
	defer leave()
	err := s.advance(work, &space)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	return reconcile.Result{}, err
}

func (s *Spaces) advance(ctx context.Context, space *tenancyv1alpha1.Space) error {
	var account tenancyv1alpha1.Account
	err := s.cached.Get(ctx, client.ObjectKey{Name: space.Spec.Account}, &account)
	if apierrors.IsNotFound(err) || err == nil && account.Spec.Suspended {
		return nil // it comes as an event when that changes
	}
	if err != nil {
		return fmt.Errorf("get Account %q: %w", space.Spec.Account, err)
	}
	uses := map[string]*tenancyv1alpha1.SpaceTemplateUse{accountInstance: account.Spec.Spaces.Template, spaceInstance: space.Spec.Template}
	isComplete, waitingFor := true, ""
	// The account's first: its template comes before that of the space.
	for _, name := range []string{accountInstance, spaceInstance} {
		instance, err := s.ensure(ctx, space, name, uses[name])
		if err != nil {
			return err
		}
		if uses[name] == nil || instance != nil && instance.Status.FirstApplied != nil {
			continue
		}
		if isComplete {
			waitingFor = waiting(uses[name], instance)
		}
		isComplete = false
	}
	return s.report(ctx, space, uses, isComplete, waitingFor)
}

func waiting(use *tenancyv1alpha1.SpaceTemplateUse, instance *tenancyv1alpha1.TemplateInstance) string {
	message := "it is being applied"
	if instance != nil {
		if ready := meta.FindStatusCondition(instance.Status.Conditions, tenancyv1alpha1.ConditionReady); ready != nil {
			message = ready.Reason + ": " + ready.Message
		}
	}
	return fmt.Sprintf("SpaceTemplate %q: %s", use.Name, message)
}

// ensure makes an instance as it is wanted, or removes it.
func (s *Spaces) ensure(ctx context.Context, space *tenancyv1alpha1.Space, name string, use *tenancyv1alpha1.SpaceTemplateUse) (*tenancyv1alpha1.TemplateInstance, error) {
	var present tenancyv1alpha1.TemplateInstance
	err := s.cached.Get(ctx, client.ObjectKey{Namespace: space.Name, Name: name}, &present)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get TemplateInstance %q: %w", space.Name+"/"+name, err)
	}
	exists := err == nil
	if use == nil {
		if !exists || !present.DeletionTimestamp.IsZero() {
			return nil, nil
		}
		return nil, s.remove(ctx, space, &present)
	}
	spec, err := s.spec(ctx, use, present.Spec.Sync)
	if err != nil {
		return nil, err
	}
	if !exists {
		made := &tenancyv1alpha1.TemplateInstance{ObjectMeta: metav1.ObjectMeta{Namespace: space.Name, Name: name}, Spec: *spec}
		if err := s.host.Create(ctx, made, spaceManager); err != nil {
			return nil, fmt.Errorf("create TemplateInstance %q: %w", space.Name+"/"+name, err)
		}
		return made, nil
	}
	if equality.Semantic.DeepEqual(present.Spec, *spec) {
		return &present, nil
	}
	present.Spec = *spec
	if err := s.host.Update(ctx, &present, spaceManager); err != nil {
		return nil, fmt.Errorf("update TemplateInstance %q: %w", space.Name+"/"+name, err)
	}
	return &present, nil
}

// remove ends an instance. Its labels on the namespace have no owner that the garbage collector knows.
func (s *Spaces) remove(ctx context.Context, space *tenancyv1alpha1.Space, instance *tenancyv1alpha1.TemplateInstance) error {
	if err := applyMetadata(ctx, s.host, space.Name, space.Status.NamespaceUID, instance.Name, nil, nil); err != nil {
		return err
	}
	uid := instance.UID
	if err := client.IgnoreNotFound(s.host.Delete(ctx, instance, client.Preconditions{UID: &uid})); err != nil {
		return fmt.Errorf("delete TemplateInstance %q: %w", space.Name+"/"+instance.Name, err)
	}
	s.log.Info("Removed the objects of a space template", "space", space.Name, "template", instance.Spec.SpaceTemplate)
	return nil
}

// spec is that of the instance of a space template. What is not mandatory is made once. While there is no template it stays as it was.
func (s *Spaces) spec(ctx context.Context, use *tenancyv1alpha1.SpaceTemplateUse, present *bool) (*tenancyv1alpha1.TemplateInstanceSpec, error) {
	var template tenancyv1alpha1.SpaceTemplate
	err := s.cached.Get(ctx, client.ObjectKey{Name: use.Name}, &template)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get SpaceTemplate %q: %w", use.Name, err)
	}
	sync := err != nil || isMandatory(&template)
	if err != nil && present != nil {
		sync = *present
	}
	spec := &tenancyv1alpha1.TemplateInstanceSpec{SpaceTemplate: use.Name, Sync: &sync}
	for _, p := range use.Parameters {
		value := p.Value
		spec.Parameters = append(spec.Parameters, tenancyv1alpha1.InstanceParameter{Name: p.Name, Value: &value})
	}
	return spec, nil
}

func (s *Spaces) report(ctx context.Context, space *tenancyv1alpha1.Space, uses map[string]*tenancyv1alpha1.SpaceTemplateUse, isComplete bool, waitingFor string) error {
	wasComplete := meta.IsStatusConditionTrue(space.Status.Conditions, tenancyv1alpha1.ConditionTemplatesApplied)
	if uses[accountInstance] == nil && uses[spaceInstance] == nil && !wasComplete {
		return nil
	}
	condition := metav1.Condition{
		Type: tenancyv1alpha1.ConditionTemplatesApplied, Status: metav1.ConditionTrue, Reason: tenancyv1alpha1.ReasonApplied,
		Message: "The templates of the space are in place",
	}
	if !isComplete {
		condition.Message = "The templates were in place; now waiting for " + waitingFor
	}
	if !isComplete && !wasComplete {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, tenancyv1alpha1.ReasonApplying, waitingFor
	}
	return report.Write(ctx, s.host, space, space.Status.Conditions, spaceManager, report.Part{Conditions: []metav1.Condition{condition}})
}
