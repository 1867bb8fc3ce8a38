package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

const twoConfigMaps = `apiVersion: v1
kind: ConfigMap
metadata: {name: first}
data: {x: '${x}', where: '${account}/${namespace}'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: second}
data: {x: '${x}'}`

// What an instance goes through: it is applied, follows its parameters and its template, is repaired, and goes.
func TestLifeOfAnInstance(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil)
	e.template(t, "pair", twoConfigMaps, tenancyv1alpha1.TemplateParameter{Name: "x", Required: true})
	e.space(t, "web")
	e.must(t, instance("web", "mine", "pair", value("x", "1")))
	got := e.awaitReason(t, "web", "mine", tenancyv1alpha1.ReasonApplied)
	if len(got.Status.Objects) != 2 || got.Status.Objects[0].State != tenancyv1alpha1.ObjectApplied || got.Status.FirstApplied == nil || got.Status.Template != "Template/pair" {
		t.Errorf("got the status %+v", got.Status)
	}
	e.awaitData(t, "web", "first", "where", "team/web")

	// Parameters.
	edit(t, e, e.ann, instance("web", "mine", ""), func(i *tenancyv1alpha1.TemplateInstance) { i.Spec.Parameters[0] = value("x", "2") })
	e.awaitData(t, "web", "second", "x", "2")

	// What others change or remove is set back, and that is told.
	edit(t, e, e.ann, configMap("web", "second"), func(c *corev1.ConfigMap) { c.Data["x"] = "mine" })
	e.awaitData(t, "web", "second", "x", "2")
	if err := e.ann.Delete(t.Context(), configMap("web", "first")); err != nil {
		t.Fatal(err)
	}
	e.awaitData(t, "web", "first", "x", "2")
	e.Eventually(t, "the repairs are told", func() error {
		got := e.awaitReason(t, "web", "mine", tenancyv1alpha1.ReasonApplied)
		if got.Status.Repairs != 2 || got.Status.LastRepair == nil || got.Status.LastRepair.Objects[0] != "ConfigMap/first" {
			return errorf("the status is %+v and %+v", got.Status.Repairs, got.Status.LastRepair)
		}
		return nil
	})

	e.Eventually(t, "an event tells it", func() error {
		return e.hasEvent(t.Context(), "web", "mine", "Repaired", "ConfigMap/first")
	})

	// The template: what is no longer in it goes.
	edit(t, e, e.Admin, &tenancyv1alpha1.Template{ObjectMeta: metav1.ObjectMeta{Name: "pair"}}, func(template *tenancyv1alpha1.Template) {
		template.Spec.Manifests = manifests(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: second}\ndata: {z: 'new ${x}'}")
	})
	e.awaitData(t, "web", "second", "z", "new 2")
	e.Eventually(t, "the first one is gone", e.IsGone(t, configMap("web", "first")))
	if data, err := e.data(t.Context(), "web", "second"); err != nil || len(data) != 1 {
		t.Errorf("the second one has %v (%v), want only z", data, err)
	}

	// The template goes: what is there stays.
	if err := e.Admin.Delete(t.Context(), &tenancyv1alpha1.Template{ObjectMeta: metav1.ObjectMeta{Name: "pair"}}); err != nil {
		t.Fatal(err)
	}
	e.awaitReason(t, "web", "mine", tenancyv1alpha1.ReasonTemplateMissing)
	e.awaitData(t, "web", "second", "z", "new 2")

	// The instance goes, although the template is gone, and nothing is left.
	if err := e.ann.Delete(t.Context(), instance("web", "mine", "")); err != nil {
		t.Fatal(err)
	}
	e.awaitCollected(t, configMap("web", "second"))
}

const oneOfEach = `apiVersion: v1
kind: ConfigMap
metadata: {name: made}
data: {x: '${x}'}
---
apiVersion: %s
kind: %s
metadata: {name: refused}
%s`

// What cannot be applied as a whole is not applied at all, and says why.
func TestNothingHalfMade(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil)
	e.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "foreign"}})
	e.space(t, "web")
	if err := e.ann.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "taken"}, Data: map[string]string{"whose": "mine"}}); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		apiVersion, kind, more string
		reason, words          string
	}{
		"invalid":          {apiVersion: "v1", kind: "Service", more: "spec: {ports: [{port: 70000}]}", reason: tenancyv1alpha1.ReasonObjectRefused, words: "70000"},
		"unknown-field":    {apiVersion: "v1", kind: "ConfigMap", more: "spec: {}", reason: tenancyv1alpha1.ReasonObjectRefused, words: "spec"},
		"unknown-kind":     {apiVersion: "example.com/v1", kind: "Nothing", reason: tenancyv1alpha1.ReasonObjectRefused, words: "has no kind Nothing"},
		"cluster-scoped":   {apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", reason: tenancyv1alpha1.ReasonObjectRefused, words: "belongs to the whole host cluster"},
		"namespace":        {apiVersion: "v1", kind: "Namespace", reason: tenancyv1alpha1.ReasonObjectRefused, words: "belongs to the whole host cluster"},
		"without-right":    {apiVersion: "v1", kind: "LimitRange", more: "spec: {limits: []}", reason: tenancyv1alpha1.ReasonObjectRefused, words: "forbidden"},
		"escalation":       {apiVersion: "rbac.authorization.k8s.io/v1", kind: "RoleBinding", more: "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}", reason: tenancyv1alpha1.ReasonObjectRefused, words: "forbidden"},
		"outsider":         {apiVersion: "rbac.authorization.k8s.io/v1", kind: "RoleBinding", more: "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}\nsubjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: eve}]", reason: tenancyv1alpha1.ReasonObjectRefused, words: "only its own service accounts can be bound"},
		"identity":         {apiVersion: "v1", kind: "ServiceAccount", more: "automountServiceAccountToken: false", reason: tenancyv1alpha1.ReasonApplied},
		"pod-security":     {apiVersion: "v1", kind: "Pod", more: "spec: {hostNetwork: true, containers: [{name: a, image: a}]}", reason: tenancyv1alpha1.ReasonObjectRefused, words: "PodSecurity"},
		"missing-required": {apiVersion: "v1", kind: "ConfigMap", more: "data: {y: '${y}'}", reason: tenancyv1alpha1.ReasonRenderFailed, words: `no parameter "y"`},
	}
	for name, test := range tests {
		e.template(t, name, fmt.Sprintf(oneOfEach, test.apiVersion, test.kind, test.more), tenancyv1alpha1.TemplateParameter{Name: "x"})
		e.must(t, instance("web", name, name))
		got := e.awaitReason(t, "web", name, test.reason)
		if !strings.Contains(message(got), test.words) {
			t.Errorf("%s: got %q, want %q", name, message(got), test.words)
		}
		if test.reason != tenancyv1alpha1.ReasonApplied {
			e.mustNotExist(t, "web", "made")
		}
		if err := e.ann.Delete(t.Context(), instance("web", name, "")); err != nil {
			t.Fatal(err)
		}
		e.awaitCollected(t, configMap("web", "made"))
	}

	// What is there and belongs to somebody else is left alone.
	e.template(t, "taken", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: taken}\ndata: {whose: templates}")
	e.must(t, instance("web", "taken", "taken"))
	got := e.awaitReason(t, "web", "taken", tenancyv1alpha1.ReasonObjectTaken)
	if got.Status.Objects[1].State != tenancyv1alpha1.ObjectTaken {
		t.Errorf("got the objects %+v", got.Status.Objects)
	}
	e.mustNotExist(t, "web", "made")
	e.awaitData(t, "web", "taken", "whose", "mine")
	if err := e.ann.Delete(t.Context(), instance("web", "taken", "")); err != nil {
		t.Fatal(err)
	}
	e.awaitData(t, "web", "taken", "whose", "mine")

	// A quota says no when it is used up: what was made before it does is removed again.
	e.Create(t, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "full"}, Spec: corev1.ResourceQuotaSpec{
		Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")},
	}})
	e.Eventually(t, "the quota is enforced", func() error {
		probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "probe"}}
		err := e.Admin.Create(t.Context(), probe)
		if err == nil {
			return errors.Join(errors.New("it is not"), e.Admin.Delete(t.Context(), probe))
		}
		if !strings.Contains(err.Error(), "exceeded quota") {
			return err
		}
		return nil
	})
	e.template(t, "over", "apiVersion: v1\nkind: Secret\nmetadata: {name: over}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: over}\n")
	e.must(t, instance("web", "over", "over"))
	if got := e.awaitReason(t, "web", "over", tenancyv1alpha1.ReasonObjectRefused); !strings.Contains(message(got), "exceeded quota") {
		t.Errorf("got %q", message(got))
	}
	e.Eventually(t, "the ServiceAccount is gone", e.IsGone(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "over"}}))
}

// A value from a Secret goes into objects and nowhere else.
func TestValuesFromSecrets(t *testing.T) {
	t.Parallel()
	const secret = "correct-horse-battery"
	e := newEnvironment(t, nil)
	e.space(t, "web")
	e.must(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "source"}, StringData: map[string]string{"password": secret}})
	from := func(name, key string) tenancyv1alpha1.InstanceParameter {
		return tenancyv1alpha1.InstanceParameter{Name: "p", ValueFrom: &tenancyv1alpha1.ParameterSource{SecretKeyRef: tenancyv1alpha1.SecretKey{Name: name, Key: key}}}
	}
	parameter := tenancyv1alpha1.TemplateParameter{Name: "p", Required: true}
	e.template(t, "copy", "apiVersion: v1\nkind: Secret\nmetadata: {name: copy}\nstringData: {url: 'postgres://u:${p}@db'}", parameter)
	// The host repeats in its answer what it does not like.
	e.template(t, "told", "apiVersion: v1\nkind: Service\nmetadata: {name: told}\nspec: {type: '${p}', ports: [{port: 80}]}", parameter)
	e.template(t, "named", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 'a-${p}'}", parameter)
	want := map[string]string{"copy": tenancyv1alpha1.ReasonApplied, "told": tenancyv1alpha1.ReasonObjectRefused, "named": tenancyv1alpha1.ReasonRenderFailed}
	for name, reason := range want {
		e.must(t, instance("web", name, name, from("source", "password")))
		got := e.awaitReason(t, "web", name, reason)
		// What the object was sent with by ann says where the value is, and not what it is.
		if shown, err := json.Marshal(got); err != nil || strings.Contains(string(shown), secret) {
			t.Errorf("%s shows the value (%v): %s", name, err, shown)
		}
		if reason != tenancyv1alpha1.ReasonApplied {
			e.Eventually(t, "an event tells it", func() error { return e.hasEvent(t.Context(), "web", name, reason, "") })
		}
	}
	var events corev1.EventList
	if err := e.Admin.List(t.Context(), &events); err != nil || strings.Contains(fmt.Sprint(events), secret) {
		t.Errorf("an event shows the value (%v)", err)
	}
	var copied corev1.Secret
	if err := e.Admin.Get(t.Context(), client.ObjectKey{Namespace: "web", Name: "copy"}, &copied); err != nil || string(copied.Data["url"]) != "postgres://u:"+secret+"@db" {
		t.Errorf("got %v and %q", err, copied.Data)
	}
	if got := e.awaitReason(t, "web", "told", tenancyv1alpha1.ReasonObjectRefused); !strings.Contains(message(got), "spec.type") {
		t.Errorf("the field should be told: %q", message(got))
	}
	e.must(t, instance("web", "missing", "copy", from("nothing", "password")))
	e.awaitReason(t, "web", "missing", tenancyv1alpha1.ReasonSecretMissing)
	e.must(t, instance("web", "key", "copy", from("source", "nothing")))
	e.awaitReason(t, "web", "key", tenancyv1alpha1.ReasonSecretMissing)
}

func TestOneShot(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil)
	e.space(t, "web")
	e.template(t, "pair", twoConfigMaps, tenancyv1alpha1.TemplateParameter{Name: "x"})
	once := instance("web", "once", "pair", value("x", "1"))
	once.Spec.Sync = new(false)
	e.must(t, once)
	e.awaitReason(t, "web", "once", tenancyv1alpha1.ReasonAppliedOnce)
	edit(t, e, e.ann, configMap("web", "first"), func(c *corev1.ConfigMap) { c.Data["x"] = "mine" })
	edit(t, e, e.ann, instance("web", "once", ""), func(i *tenancyv1alpha1.TemplateInstance) { i.Spec.Parameters[0] = value("x", "2") })
	e.awaitReason(t, "web", "once", tenancyv1alpha1.ReasonAppliedOnce)
	e.awaitData(t, "web", "first", "x", "mine")
	e.awaitData(t, "web", "second", "x", "1")
	edit(t, e, e.ann, instance("web", "once", ""), func(i *tenancyv1alpha1.TemplateInstance) { i.Spec.Sync = new(true) })
	e.awaitData(t, "web", "first", "x", "2")
}

// A suspended account changes nothing by templates, and what it has can be removed.
func TestSuspendedAccount(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil)
	e.space(t, "web")
	e.template(t, "pair", twoConfigMaps, tenancyv1alpha1.TemplateParameter{Name: "x"})
	for _, name := range []string{"goes", "stays"} {
		i := instance("web", name, "pair", value("x", "1"))
		if name == "stays" {
			e.template(t, "other", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {x: '1'}")
			i = instance("web", name, "other")
		}
		e.must(t, i)
		e.awaitReason(t, "web", name, tenancyv1alpha1.ReasonApplied)
	}
	team := &tenancyv1alpha1.Account{ObjectMeta: metav1.ObjectMeta{Name: "team"}}
	edit(t, e, e.Admin, team, func(a *tenancyv1alpha1.Account) { a.Spec.Suspended = true })
	e.awaitReason(t, "web", "stays", tenancyv1alpha1.ReasonSuspended)
	edit(t, e, e.Admin, &tenancyv1alpha1.Template{ObjectMeta: metav1.ObjectMeta{Name: "other"}}, func(template *tenancyv1alpha1.Template) {
		template.Spec.Manifests = manifests(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {x: '2'}")
	})
	if err := e.Admin.Delete(t.Context(), instance("web", "goes", ""), client.PropagationPolicy(metav1.DeletePropagationForeground)); err != nil {
		t.Fatal(err)
	}
	e.awaitCollected(t, instance("web", "goes", ""))
	e.awaitCollected(t, configMap("web", "first"))
	e.awaitData(t, "web", "other", "x", "1")
	if err := e.Admin.Delete(t.Context(), &tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: "web"}}); err != nil {
		t.Fatal(err)
	}
	e.awaitCollected(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "web"}})
}
