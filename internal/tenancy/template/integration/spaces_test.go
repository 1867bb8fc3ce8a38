package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

func in(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// The chart's own space template is in place before ann comes in, she cannot touch it, and it goes with the account's wish.
func TestMandatoryTemplates(t *testing.T) {
	t.Parallel()
	values := map[string]any{"templates": map[string]any{"offeredSecrets": []any{"registry"}}}
	e := newEnvironmentWith(t, values, func(account *tenancyv1alpha1.AccountSpec) {
		account.Spaces.Template = &tenancyv1alpha1.SpaceTemplateUse{Name: "default"}
	})
	space := &tenancyv1alpha1.Space{ObjectMeta: named("web"), Spec: tenancyv1alpha1.SpaceSpec{Account: "team"}}
	e.Eventually(t, "ann makes a space", func() error { return e.ann.Create(t.Context(), space.DeepCopy()) })

	// The Secret of the registry is not there yet: the space is not usable, and nothing is half made.
	got := e.awaitReason(t, "web", "matryoshka-account", tenancyv1alpha1.ReasonSecretMissing)
	if !strings.Contains(message(got), `Secret "registry"`) {
		t.Errorf("got %q", message(got))
	}
	e.Eventually(t, "the space waits for its templates", func() error {
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(space), space); err != nil {
			return err
		}
		condition := apimeta.FindStatusCondition(space.Status.Conditions, tenancyv1alpha1.ConditionReady)
		if condition == nil || condition.Reason != "WaitingForTemplates" || !strings.Contains(condition.Message, "registry") {
			return errorf("its condition is %+v", condition)
		}
		return nil
	})
	if err := e.ann.Create(t.Context(), configMap("web", "early"), client.DryRunAll); err == nil {
		t.Error("ann may use the space before its templates are in place")
	}
	policy := &networkingv1.NetworkPolicy{ObjectMeta: in("web", "default-deny")}
	if err := e.IsGone(t, policy)(); err != nil {
		t.Errorf("half of the template is there: %v", err)
	}

	// Not every Secret of the agent's namespace is offered.
	registry := &corev1.Secret{
		ObjectMeta: in(tenancytest.SystemNamespace, "registry"), Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{}}`)},
	}
	e.Create(t, registry)
	edit(t, e, e.Admin, &tenancyv1alpha1.SpaceTemplate{ObjectMeta: named("default")}, func(s *tenancyv1alpha1.SpaceTemplate) { s.Spec.Description = "changed" })
	e.awaitReason(t, "web", "matryoshka-account", tenancyv1alpha1.ReasonSecretMissing)
	edit(t, e, e.Admin, registry, func(s *corev1.Secret) { s.Labels = map[string]string{mapping.LabelOffer: "true"} })
	edit(t, e, e.Admin, &tenancyv1alpha1.SpaceTemplate{ObjectMeta: named("default")}, func(s *tenancyv1alpha1.SpaceTemplate) {
		s.Spec.Labels = map[string]string{"stage": "${namespace}-stage"}
	})
	e.awaitReason(t, "web", "matryoshka-account", tenancyv1alpha1.ReasonApplied)
	e.awaitUse(t, "web")
	e.Eventually(t, "everything is in place", func() error {
		var account corev1.ServiceAccount
		if err := e.Admin.Get(t.Context(), client.ObjectKey{Namespace: "web", Name: "default"}, &account); err != nil || len(account.ImagePullSecrets) != 1 || account.ImagePullSecrets[0].Name != "registry" {
			return errorf("pull secrets are %v (%v)", account.ImagePullSecrets, err)
		}
		for _, object := range []client.Object{policy, &corev1.LimitRange{ObjectMeta: in("web", "limit-range")}, &corev1.Secret{ObjectMeta: in("web", "registry")}} {
			if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil || object.GetLabels()[mapping.LabelMandatory] != "true" {
				return errorf("%s: %v, labels %v", object.GetName(), err, object.GetLabels())
			}
		}
		var namespace corev1.Namespace
		if err := e.Admin.Get(t.Context(), client.ObjectKey{Name: "web"}, &namespace); err != nil || namespace.Labels["stage"] != "web-stage" || namespace.Labels[mapping.LabelKind] != mapping.KindSpace {
			return errorf("the namespace has %v (%v)", namespace.Labels, err)
		}
		return nil
	})
	mustHoldMembersOff(t, e, policy)

	// A template that is gone locks nobody out.
	if err := e.Admin.Delete(t.Context(), &tenancyv1alpha1.SpaceTemplate{ObjectMeta: named("default")}); err != nil {
		t.Fatal(err)
	}
	e.awaitReason(t, "web", "matryoshka-account", tenancyv1alpha1.ReasonTemplateMissing)
	e.awaitUse(t, "web")
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(policy), policy); err != nil {
		t.Errorf("what was mandatory is gone with the template: %v", err)
	}

	// The account has no template any more.
	edit(t, e, e.Admin, &tenancyv1alpha1.Account{ObjectMeta: named("team")}, func(a *tenancyv1alpha1.Account) { a.Spec.Spaces.Template = nil })
	e.awaitCollected(t, instance("web", "matryoshka-account", ""))
	e.awaitCollected(t, policy)
	e.Eventually(t, "the label of the namespace is gone", func() error {
		var namespace corev1.Namespace
		if err := e.Admin.Get(t.Context(), client.ObjectKey{Name: "web"}, &namespace); err != nil || namespace.Labels["stage"] != "" {
			return errorf("the namespace has %v (%v)", namespace.Labels, err)
		}
		return nil
	})
}

// mustHoldMembersOff tries what ann, who is admin of her space, must not be able to do.
func mustHoldMembersOff(t *testing.T, e *environment, policy *networkingv1.NetworkPolicy) {
	t.Helper()
	const words = "is of a mandatory template"
	// The counterpart: she may do this with what is not mandatory.
	own := policy.DeepCopy()
	own.ObjectMeta = in("web", "own")
	e.must(t, own)
	if err := e.ann.Delete(t.Context(), own); err != nil {
		t.Errorf("ann cannot delete her own network policy: %v", err)
	}

	wantRefusal(t, "delete", e.ann.Delete(t.Context(), policy.DeepCopy()), words)
	wantRefusal(t, "delete all", e.ann.DeleteAllOf(t.Context(), &networkingv1.NetworkPolicy{}, client.InNamespace("web")), words)
	opened := policy.DeepCopy()
	opened.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{}}
	wantRefusal(t, "open", e.ann.Update(t.Context(), opened), words)
	unmarked := policy.DeepCopy()
	unmarked.Labels = nil
	wantRefusal(t, "unmark", e.ann.Update(t.Context(), unmarked), words)
	forged := configMap("web", "forged")
	forged.Labels = map[string]string{mapping.LabelMandatory: "true"}
	wantRefusal(t, "forge", e.ann.Create(t.Context(), forged), words)
	wantRefusal(t, "the pull secret", e.ann.Delete(t.Context(), &corev1.Secret{ObjectMeta: in("web", "registry")}), words)

	// By a template, which works with her rights, she can do no more.
	e.template(t, "open", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: default-deny}\nspec: {podSelector: {}}")
	e.must(t, instance("web", "open", "open"))
	e.awaitReason(t, "web", "open", tenancyv1alpha1.ReasonObjectTaken)

	// Nor as the identities of templates.
	for _, user := range []string{"system:serviceaccount:web:matryoshka-templates", "system:serviceaccount:web:matryoshka-space-templates"} {
		wantRefusal(t, user, e.As(t, user).Delete(t.Context(), policy.DeepCopy()), "")
	}
	const kept = "the name matryoshka-templates is kept"
	identity := &corev1.ServiceAccount{ObjectMeta: in("web", "matryoshka-templates")}
	wantRefusal(t, "the identity", e.ann.Create(t.Context(), identity), kept)
	if err := e.ann.SubResource("token").Create(t.Context(), identity, &authenticationv1.TokenRequest{}); err == nil {
		t.Error("ann gets a token of the identity of templates")
	}

	// The instance is not hers, and she cannot make one like it.
	mandatory := instance("web", "matryoshka-account", "")
	wantRefusal(t, "delete the instance", e.ann.Delete(t.Context(), mandatory), "instances of space templates are made by the agent")
	mine := &tenancyv1alpha1.TemplateInstance{ObjectMeta: in("web", "matryoshka-mine"), Spec: tenancyv1alpha1.TemplateInstanceSpec{SpaceTemplate: "default"}}
	wantRefusal(t, "make an instance", e.ann.Create(t.Context(), mine), "instances of space templates are made by the agent")
	wantRefusal(t, "take the name", e.ann.Create(t.Context(), instance("web", "matryoshka-space", "open")), "are kept for the templates of the space itself")

	// Her own template of a space would be one of the admin's.
	wantRefusal(t, "make a space template", e.ann.Create(t.Context(), &tenancyv1alpha1.SpaceTemplate{ObjectMeta: named("mine")}), "forbidden")
	wantRefusal(t, "make a template", e.ann.Create(t.Context(), &tenancyv1alpha1.Template{ObjectMeta: named("mine")}), "forbidden")
	var templates tenancyv1alpha1.TemplateList
	if err := e.ann.List(t.Context(), &templates); err != nil || len(templates.Items) < 2 {
		t.Errorf("ann should see the templates that she may use: %v", err)
	}

	// An admin of the host who writes space templates may.
	if err := e.Admin.Delete(t.Context(), policy.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	e.Eventually(t, "the network policy is set back", func() error { return e.Admin.Get(t.Context(), client.ObjectKeyFromObject(policy), policy) })
}

// A space template that cannot be applied keeps people out, says why, and leaves nothing; mended, it lets them in. One that is not
// mandatory leaves its objects to them.
func TestTemplateOfASpace(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil)
	e.Create(t, &tenancyv1alpha1.SpaceTemplate{ObjectMeta: named("start"), Spec: tenancyv1alpha1.SpaceTemplateSpec{
		Mandatory:  new(false),
		Parameters: []tenancyv1alpha1.TemplateParameter{{Name: "size", Options: []string{"s", "m"}, Required: true}},
		Objects: manifests(t, `apiVersion: v1
kind: ConfigMap
metadata: {name: start}
data: {size: '${size}', in: '${account}/${namespace}'}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: worker}`),
	}})
	space := &tenancyv1alpha1.Space{ObjectMeta: named("web"), Spec: tenancyv1alpha1.SpaceSpec{
		Account: "team", Template: &tenancyv1alpha1.SpaceTemplateUse{Name: "start", Parameters: []tenancyv1alpha1.ParameterValue{{Name: "size", Value: "xl"}}},
	}}
	e.Eventually(t, "ann makes a space", func() error { return e.ann.Create(t.Context(), space.DeepCopy()) })
	got := e.awaitReason(t, "web", "matryoshka-space", tenancyv1alpha1.ReasonParameters)
	if !strings.Contains(message(got), `"xl" is not one of s, m`) {
		t.Errorf("got %q", message(got))
	}
	// She may still change what she has asked for. ServiceAccounts are none of the kinds of space templates.
	edit(t, e, e.ann, space, func(s *tenancyv1alpha1.Space) { s.Spec.Template.Parameters[0].Value = "m" })
	got = e.awaitReason(t, "web", "matryoshka-space", tenancyv1alpha1.ReasonObjectRefused)
	if !strings.Contains(message(got), "forbidden") || !strings.Contains(message(got), "serviceaccounts") {
		t.Errorf("got %q", message(got))
	}
	e.mustNotExist(t, "web", "start")
	edit(t, e, e.Admin, &tenancyv1alpha1.SpaceTemplate{ObjectMeta: named("start")}, func(s *tenancyv1alpha1.SpaceTemplate) { s.Spec.Objects = s.Spec.Objects[:1] })
	e.awaitUse(t, "web")
	e.awaitData(t, "web", "start", "in", "team/web")
	e.awaitData(t, "web", "start", "size", "m")

	edit(t, e, e.ann, configMap("web", "start"), func(c *corev1.ConfigMap) { c.Data["size"] = "mine" })
	edit(t, e, e.Admin, &tenancyv1alpha1.SpaceTemplate{ObjectMeta: named("start")}, func(s *tenancyv1alpha1.SpaceTemplate) { s.Spec.Description = "changed" })
	e.awaitReason(t, "web", "matryoshka-space", tenancyv1alpha1.ReasonAppliedOnce)
	e.awaitData(t, "web", "start", "size", "mine")
}

// What is no longer mandatory becomes the members' own, and is mandatory again when the template says so.
func TestNoLongerMandatory(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, func(account *tenancyv1alpha1.AccountSpec) {
		account.Spaces.Template = &tenancyv1alpha1.SpaceTemplateUse{Name: "default"}
	})
	e.space(t, "web")
	policy := &networkingv1.NetworkPolicy{ObjectMeta: in("web", "default-deny")}
	wantRefusal(t, "delete", e.ann.Delete(t.Context(), policy.DeepCopy()), "is of a mandatory template")
	template := &tenancyv1alpha1.SpaceTemplate{ObjectMeta: named("default")}
	edit(t, e, e.Admin, template, func(s *tenancyv1alpha1.SpaceTemplate) { s.Spec.Mandatory = new(false) })
	e.awaitReason(t, "web", "matryoshka-account", tenancyv1alpha1.ReasonAppliedOnce)
	if err := e.ann.Delete(t.Context(), policy.DeepCopy()); err != nil {
		t.Errorf("ann cannot delete what is her own now: %v", err)
	}
	edit(t, e, e.Admin, template, func(s *tenancyv1alpha1.SpaceTemplate) { s.Spec.Mandatory = new(true) })
	e.Eventually(t, "it is mandatory again", func() error {
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(policy), policy); err != nil || policy.Labels[mapping.LabelMandatory] != "true" {
			return errorf("%v, labels %v", err, policy.Labels)
		}
		return nil
	})
}

// An instance in a namespace that is no space is not applied, whoever made it.
func TestNotASpace(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil)
	e.template(t, "pair", twoConfigMaps, tenancyv1alpha1.TemplateParameter{Name: "x"})
	e.Create(t, instance("default", "mine", "pair"))
	e.awaitReason(t, "default", "mine", tenancyv1alpha1.ReasonNotASpace)
	e.mustNotExist(t, "default", "first")
}

// The agent's rights for templates end where its policies say.
func TestTheAgentIsConfined(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil)
	e.space(t, "web")
	agent := e.As(t, tenancytest.AgentUser, "system:serviceaccounts", "system:serviceaccounts:"+tenancytest.SystemNamespace)
	of := func(namespace, name, role, subjectNamespace, subject string) func(context.Context) error {
		return func(ctx context.Context) error {
			return agent.Create(ctx, bindingOf(namespace, name, role, subjectNamespace, subject), client.DryRunAll)
		}
	}
	// Its counterpart: what it binds itself.
	if err := of("web", "matryoshka-space-templates", "matryoshka-space-templates", tenancytest.SystemNamespace, "matryoshka-space-templates")(t.Context()); err != nil {
		t.Errorf("the agent cannot bind the identity of space templates: %v", err)
	}
	const only = "may bind the identities of templates to their roles only"
	for what, call := range map[string]func(context.Context) error{
		"people's role for space templates": of("web", "matryoshka-space-templates", "admin", tenancytest.SystemNamespace, "matryoshka-space-templates"),
		"another subject":                   of("web", "matryoshka-templates", "admin", "web", "default"),
		"another space's identity":          of("web", "matryoshka-templates", "admin", "other", "matryoshka-templates"),
		"the other role for people":         of("web", "matryoshka-space-templates", "matryoshka-space-templates", "web", "matryoshka-space-templates"),
	} {
		wantRefusal(t, what, call(t.Context()), only)
	}
	wantRefusal(t, "outside of spaces", of("default", "matryoshka-templates", "admin", "default", "matryoshka-templates")(t.Context()), "the agent may")
	wantRefusal(t, "an instance like those of people", agent.Create(t.Context(), instance("web", "x", "t"), client.DryRunAll), "instances of space templates")
	outside := &tenancyv1alpha1.TemplateInstance{ObjectMeta: in("default", "matryoshka-x"), Spec: tenancyv1alpha1.TemplateInstanceSpec{SpaceTemplate: "default"}}
	wantRefusal(t, "an instance outside of spaces", agent.Create(t.Context(), outside, client.DryRunAll), "instances of space templates")
	for _, namespace := range []string{"web", "default", "kube-system"} {
		wantRefusal(t, "read secrets in "+namespace, agent.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace)), "forbidden")
	}
}

// A template that the sync has not finished with is applied when it wakes.
func TestSleepingSpace(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil)
	e.space(t, "web")
	e.template(t, "pair", twoConfigMaps, tenancyv1alpha1.TemplateParameter{Name: "x"})
	e.must(t, instance("web", "mine", "pair", value("x", "1")))
	e.awaitReason(t, "web", "mine", tenancyv1alpha1.ReasonApplied)
	sleep := func(status metav1.ConditionStatus) {
		space := &tenancyv1alpha1.Space{ObjectMeta: named("web")}
		e.Eventually(t, "the space says "+string(status), func() error {
			if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(space), space); err != nil {
				return err
			}
			apimeta.SetStatusCondition(&space.Status.Conditions, metav1.Condition{Type: tenancyv1alpha1.ConditionAsleep, Status: status, Reason: "Test"})
			return e.Admin.Status().Update(t.Context(), space)
		})
	}
	sleep(metav1.ConditionTrue)
	e.awaitReason(t, "web", "mine", tenancyv1alpha1.ReasonAsleep)
	edit(t, e, e.ann, configMap("web", "first"), func(c *corev1.ConfigMap) { c.Data["x"] = "stopped" })
	watched, cancel := context.WithTimeout(t.Context(), 3*interval)
	defer cancel()
	for watched.Err() == nil {
		if data, err := e.data(t.Context(), "web", "first"); err != nil || data["x"] != "stopped" {
			t.Fatalf("what sleeps is set back: %v (%v)", data, err)
		}
		select {
		case <-watched.Done():
		case <-time.After(interval / 10):
		}
	}
	sleep(metav1.ConditionFalse)
	e.awaitData(t, "web", "first", "x", "1")
}
