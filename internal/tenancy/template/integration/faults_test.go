package integration

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/testenv/faults"
)

// While three of ten requests fail, some of them after they did what they ask, what cannot be applied leaves nothing and what can
// is applied whole, pruned and repaired.
func TestFaultyHost(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	injector := faults.NewInjector(seed)
	e := newEnvironmentOf(t, nil, nil, injector.Config)
	e.space(t, "web")
	e.template(t, "pair", twoConfigMaps, tenancyv1alpha1.TemplateParameter{Name: "x"})
	e.template(t, "half", fmt.Sprintf(oneOfEach, "v1", "Service", "spec: {ports: [{port: 70000}]}"), tenancyv1alpha1.TemplateParameter{Name: "x"})
	// A round writes some six times, and fails whole when one of them does: about two of three do by chance, and what has failed
	// ten times waits ten seconds. Some of a hundred runs need more than the usual patience.
	e.Patience = 5 * time.Minute
	injector.Set(faults.Plan{Share: 0.3, WatchLife: 2 * time.Second})
	e.must(t, instance("web", "half", "half"))
	e.must(t, instance("web", "mine", "pair", value("x", "1")))
	e.awaitData(t, "web", "second", "x", "1")
	edit(t, e, e.ann, configMap("web", "first"), func(c *corev1.ConfigMap) { c.Data["x"] = "mine" })
	e.awaitData(t, "web", "first", "x", "1")
	e.awaitReason(t, "web", "half", tenancyv1alpha1.ReasonObjectRefused)
	e.mustNotExist(t, "web", "made")
	failed := 0
	for _, failure := range []faults.Failure{faults.NotSent, faults.AnswerLost, faults.InternalError, faults.Unavailable, faults.TooMany} {
		failed += injector.Count(failure)
	}
	if failed < 3 {
		t.Errorf("only %d requests have failed: this tested nothing", failed)
	}
	injector.Set(faults.Plan{})
	e.awaitReason(t, "web", "mine", tenancyv1alpha1.ReasonApplied)
}

// Where nothing changes, nothing is written: neither objects nor statuses.
func TestNothingIsWrittenWhereNothingChanges(t *testing.T) {
	t.Parallel()
	var writes, reads atomic.Int64
	e := newEnvironmentOf(t, nil, func(account *tenancyv1alpha1.AccountSpec) {
		account.Spaces.Template = &tenancyv1alpha1.SpaceTemplateUse{Name: "default"}
	}, func(config *rest.Config) *rest.Config {
		config = rest.CopyConfig(config)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(request *http.Request) (*http.Response, error) {
				if request.Method == http.MethodGet {
					reads.Add(1)
				} else {
					writes.Add(1)
				}
				return next.RoundTrip(request)
			})
		})
		return config
	})
	e.space(t, "web")
	e.template(t, "pair", twoConfigMaps, tenancyv1alpha1.TemplateParameter{Name: "x"})
	e.must(t, instance("web", "mine", "pair", value("x", "1")))
	e.awaitReason(t, "web", "mine", tenancyv1alpha1.ReasonApplied)
	e.awaitReason(t, "web", "matryoshka-account", tenancyv1alpha1.ReasonApplied)
	// A repair is the sign that rounds go on; then there must be two rounds without a write.
	edit(t, e, e.ann, configMap("web", "first"), func(c *corev1.ConfigMap) { c.Data["x"] = "mine" })
	e.awaitData(t, "web", "first", "x", "1")
	var seen, since int64 = -1, 0
	e.Eventually(t, "rounds pass without a write", func() error {
		if now := writes.Load(); now != seen {
			seen, since = now, reads.Load()
			return errorf("%d writes", now)
		}
		// Each round of the instance of two objects reads both.
		if rounds := (reads.Load() - since) / 2; rounds < 4 {
			return errorf("%d rounds", rounds)
		}
		return nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// One space cannot keep the agent busy with ever more instances.
func TestInstancesAreLimited(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil)
	e.space(t, "web")
	e.template(t, "plain", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '${x}'}", tenancyv1alpha1.TemplateParameter{Name: "x"})
	for i := range 51 {
		e.must(t, instance("web", fmt.Sprintf("i%d", i), "plain", value("x", fmt.Sprintf("c%d", i))))
	}
	var refused []string
	e.Eventually(t, "one is too many", func() error {
		var list tenancyv1alpha1.TemplateInstanceList
		if err := e.Admin.List(t.Context(), &list, client.InNamespace("web")); err != nil {
			return err
		}
		applied := 0
		refused = nil
		for index := range list.Items {
			if conditions := list.Items[index].Status.Conditions; len(conditions) == 1 {
				switch conditions[0].Reason {
				case tenancyv1alpha1.ReasonApplied:
					applied++
				case tenancyv1alpha1.ReasonTooMany:
					refused = append(refused, list.Items[index].Name)
				}
			}
		}
		if applied != 50 || len(refused) != 1 {
			return errorf("%d are applied, %v refused", applied, refused)
		}
		return nil
	})
	if err := e.ann.Delete(t.Context(), instance("web", "i0", "")); err != nil {
		t.Fatal(err)
	}
	if refused[0] != "i0" {
		e.awaitReason(t, "web", refused[0], tenancyv1alpha1.ReasonApplied)
	}
}
