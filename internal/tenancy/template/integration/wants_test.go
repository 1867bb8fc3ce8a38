package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// interval is how often instances are compared in tests.
const interval = 500 * time.Millisecond

// environment is a host with the agent and an account team of the user ann.
type environment struct {
	*tenancytest.Host
	ann client.Client
}

func newEnvironment(t *testing.T, change func(*tenancyv1alpha1.AccountSpec)) *environment {
	t.Helper()
	return newEnvironmentWith(t, nil, change)
}

func newEnvironmentWith(t *testing.T, values map[string]any, change func(*tenancyv1alpha1.AccountSpec)) *environment {
	t.Helper()
	return newEnvironmentOf(t, values, change, func(config *rest.Config) *rest.Config { return config })
}

// newEnvironmentOf lets the agent reach the host by what wrap makes of its configuration.
func newEnvironmentOf(t *testing.T, values map[string]any, change func(*tenancyv1alpha1.AccountSpec), wrap func(*rest.Config) *rest.Config) *environment {
	t.Helper()
	h := tenancytest.NewHost(t, values)
	// The agent comes with a token of its own, since it impersonates others.
	agent := wrap(agentConfig(t, h))
	h.StartAgent(t, tenancytest.Parts{Config: agent, More: func(mgr ctrl.Manager, host client.Client) error {
		return template.SetupWithManager(mgr, template.Options{
			SystemNamespace: tenancytest.SystemNamespace, Config: agent, Host: host, Shards: shards.All(),
			Logger: slog.New(slog.DiscardHandler), Interval: interval,
		})
	}})
	account := &tenancyv1alpha1.Account{ObjectMeta: metav1.ObjectMeta{Name: "team"}, Spec: tenancyv1alpha1.AccountSpec{
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "ann"}},
	}}
	if change != nil {
		change(&account.Spec)
	}
	h.Create(t, account)
	return &environment{Host: h, ann: h.As(t, "ann")}
}

func agentConfig(t *testing.T, h *tenancytest.Host) *rest.Config {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: tenancytest.SystemNamespace, Name: "matryoshka-agent"}}
	if err := h.Admin.Create(t.Context(), account.DeepCopy()); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	token := &authenticationv1.TokenRequest{}
	if err := h.Admin.SubResource("token").Create(t.Context(), account, token); err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(h.Config)
	config.BearerToken = token.Status.Token
	config.QPS = -1
	return config
}

// space makes a space as ann and waits until she may use it.
func (e *environment) space(t *testing.T, name string) {
	t.Helper()
	space := &tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: tenancyv1alpha1.SpaceSpec{Account: "team"}}
	e.Eventually(t, "ann makes space "+name, func() error { return e.ann.Create(t.Context(), space.DeepCopy()) })
	e.awaitUse(t, name)
}

func (e *environment) awaitUse(t *testing.T, space string) {
	t.Helper()
	e.Eventually(t, "ann may use space "+space, func() error {
		err := errors.Join(
			e.ann.Create(t.Context(), configMap(space, "probe"), client.DryRunAll), e.ann.Create(t.Context(), instance(space, "probe", "none"), client.DryRunAll),
		)
		if err != nil {
			var all tenancyv1alpha1.TemplateInstanceList
			var present tenancyv1alpha1.Space
			if err := errors.Join(e.Admin.List(t.Context(), &all, client.InNamespace(space)), e.Admin.Get(t.Context(), client.ObjectKey{Name: space}, &present)); err != nil {
				return err
			}
			for _, i := range all.Items {
				err = fmt.Errorf("%w; %s is %+v", err, i.Name, i.Status)
			}
			return fmt.Errorf("%w; the space is %+v", err, present.Status)
		}
		return nil
	})
}

func configMap(namespace, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

// manifests reads objects of YAML, separated by lines of ---.
func manifests(t *testing.T, text string) []runtime.RawExtension {
	t.Helper()
	var all []runtime.RawExtension
	for document := range strings.SplitSeq(text, "\n---\n") {
		encoded, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, runtime.RawExtension{Raw: encoded})
	}
	return all
}

// template makes a Template of manifests.
func (e *environment) template(t *testing.T, name, text string, parameters ...tenancyv1alpha1.TemplateParameter) {
	t.Helper()
	e.Create(t, &tenancyv1alpha1.Template{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       tenancyv1alpha1.TemplateSpec{Parameters: parameters, Manifests: manifests(t, text)},
	})
}

func instance(namespace, name, template string, parameters ...tenancyv1alpha1.InstanceParameter) *tenancyv1alpha1.TemplateInstance {
	return &tenancyv1alpha1.TemplateInstance{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       tenancyv1alpha1.TemplateInstanceSpec{Template: template, Parameters: parameters},
	}
}

func value(name, text string) tenancyv1alpha1.InstanceParameter {
	return tenancyv1alpha1.InstanceParameter{Name: name, Value: &text}
}

// must makes an object as ann.
func (e *environment) must(t *testing.T, object client.Object) {
	t.Helper()
	if err := e.ann.Create(t.Context(), object); err != nil {
		t.Fatalf("create %T %s: %v", object, object.GetName(), err)
	}
}

// awaitReason waits until an instance has a reason in its condition Ready and returns it.
func (e *environment) awaitReason(t *testing.T, namespace, name, reason string) *tenancyv1alpha1.TemplateInstance {
	t.Helper()
	return e.awaitWords(t, namespace, name, reason, "")
}

// awaitWords waits until the condition Ready has a reason and says some words, and returns the instance.
func (e *environment) awaitWords(t *testing.T, namespace, name, reason, words string) *tenancyv1alpha1.TemplateInstance {
	t.Helper()
	got := &tenancyv1alpha1.TemplateInstance{}
	e.Eventually(t, "instance "+name+" is "+reason+" "+words, func() error {
		if err := e.Admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, got); err != nil {
			return err
		}
		condition := apimeta.FindStatusCondition(got.Status.Conditions, tenancyv1alpha1.ConditionReady)
		if condition == nil || condition.Reason != reason || condition.ObservedGeneration != got.Generation || !strings.Contains(condition.Message, words) {
			return fmt.Errorf("its condition is %+v, its objects %+v", condition, got.Status.Objects)
		}
		return nil
	})
	return got
}

func message(instance *tenancyv1alpha1.TemplateInstance) string {
	return apimeta.FindStatusCondition(instance.Status.Conditions, tenancyv1alpha1.ConditionReady).Message
}

// data of a ConfigMap, nil if there is none.
func (e *environment) data(ctx context.Context, namespace, name string) (map[string]string, error) {
	got := configMap(namespace, name)
	err := e.Admin.Get(ctx, client.ObjectKeyFromObject(got), got)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if got.Data == nil {
		got.Data = map[string]string{}
	}
	return got.Data, err
}

func (e *environment) awaitData(t *testing.T, namespace, name, key, want string) {
	t.Helper()
	e.Eventually(t, "ConfigMap "+name+" has "+key+"="+want, func() error {
		data, err := e.data(t.Context(), namespace, name)
		if err != nil || data[key] != want || data == nil {
			return errorf("it has %v (%v)", data, err)
		}
		return nil
	})
}

func (e *environment) mustNotExist(t *testing.T, namespace, name string) {
	t.Helper()
	if data, err := e.data(t.Context(), namespace, name); data != nil || err != nil {
		t.Errorf("ConfigMap %s has %v (%v), want none", name, data, err)
	}
}

// edit changes an object as somebody.
func edit[T client.Object](t *testing.T, e *environment, somebody client.Client, object T, change func(T)) {
	t.Helper()
	e.Eventually(t, "change "+object.GetName(), func() error {
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change(object)
		return somebody.Update(t.Context(), object)
	})
}

func wantRefusal(t *testing.T, what string, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%s: got %v, want a refusal with %q", what, err, words)
	}
}

func errorf(format string, arguments ...any) error { return fmt.Errorf(format, arguments...) }

// awaitCollected waits for the garbage collector, which may learn of a new kind only after half a minute.
func (e *environment) awaitCollected(t *testing.T, object client.Object) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 2*time.Minute, true, func(context.Context) (bool, error) {
		last = e.IsGone(t, object)()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s is not collected: %v", object.GetName(), last)
	}
}

func bindingOf(namespace, name, role, subjectNamespace, subject string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{mapping.LabelAccount: "team"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: subjectNamespace, Name: subject}},
	}
}

// hasEvent complains unless there is an event about an instance.
func (e *environment) hasEvent(ctx context.Context, namespace, name, reason, words string) error {
	var events corev1.EventList
	if err := e.Admin.List(ctx, &events, client.InNamespace(namespace)); err != nil {
		return err
	}
	for _, event := range events.Items {
		if event.InvolvedObject.Name == name && event.Reason == reason && strings.Contains(event.Message, words) {
			return nil
		}
	}
	return errorf("there are the events %v", events.Items)
}
