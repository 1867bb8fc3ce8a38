package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/customresource"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
	"github.com/matryoshka-dev/matryoshka/internal/testenv/faults"
)

const (
	widgets = "widgets.shop.example.com"
	gadgets = "gadgets.shop.example.com"
)

// customWorld is a world whose tenant has custom resources. Its clients know any kind.
type customWorld struct {
	*world
	registry *tenants.Registry
	source   *customresource.Source
	// late holds up what the agent hears of the host.
	late faults.Late
}

// TestCustomResources uses one pair of API servers for everything that is asked of custom resources, in the order of a life.
func TestCustomResources(t *testing.T) {
	w := &customWorld{world: newWorld(t), registry: tenants.NewRegistry()}
	w.host, w.virtual = anyClient(t, w.hostConfig), anyClient(t, w.tenant.VirtualConfig)
	testenv.AggregateClusterRoles(t, w.hostConfig)
	w.serve(t, nil)
	w.ask(clusterv1alpha1.CustomResource{Name: widgets, References: []string{".spec.peers[*].namespace"}})
	shop := w.namespace(t, "shop")

	w.awaitProblem(t, "NotOnHost", widgets)
	create(t, w.host, definition(t, "widgets", "Widget"))
	w.awaitProblem(t, "NotGranted", widgets)
	never(t, w.virtual, client.ObjectKey{Name: widgets}, ofKind("apiextensions.k8s.io/v1", "CustomResourceDefinition"))
	w.grant(t, "widgets-wild", "*")
	w.awaitProblem(t, "NotGranted", widgets)
	w.grant(t, "widgets", "widgets")
	w.awaitNoProblem(t)

	t.Run("definition", w.testDefinition)
	t.Run("toHost", func(t *testing.T) { w.testToHost(t, shop) })
	t.Run("hostile", func(t *testing.T) { w.testHostile(t, shop) })
	t.Run("update of the definition", func(t *testing.T) { w.testNewSchema(t, shop) })
	t.Run("fromHost", func(t *testing.T) { w.testFromHost(t, shop) })
	t.Run("new defaults", func(t *testing.T) { w.testNewDefaults(t, shop) })
	t.Run("own definition", w.testOwnDefinition)
	t.Run("withdrawn", func(t *testing.T) { w.testWithdrawn(t, shop) })
}

func anyClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	config = rest.CopyConfig(config)
	config.QPS = -1
	made, err := client.New(config, client.Options{Scheme: engine.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// serve runs an engine with the kinds of custom resources and those that also makes of them.
func (w *customWorld) serve(t *testing.T, also func(*customresource.Source) []engine.Kind) {
	t.Helper()
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	w.source = customresource.New(customresource.Options{Recheck: 200 * time.Millisecond})
	kinds := w.source.Kinds()
	if also != nil {
		kinds = append(kinds, also(w.source)...)
	}
	served, err := engine.New(w.late.Config(w.agentConfig), w.registry, kinds, engine.Options{
		Namespaces: w.ensurer, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- served.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the engine ended with: %v", err)
		}
	})
}

// ask makes the spec of the VirtualCluster name these.
func (w *customWorld) ask(asked ...clusterv1alpha1.CustomResource) {
	w.tenant.Spec.Sync.CustomResources = asked
	w.registry.Set(w.tenant)
}

func (w *customWorld) awaitProblem(t *testing.T, reason, part string) {
	t.Helper()
	eventually(t, "problem "+reason, func() error {
		got, message := w.source.Problem(w.tenant)
		return expect(got == reason && strings.Contains(message, part), "it is %q: %s", got, message)
	})
}

func (w *customWorld) awaitNoProblem(t *testing.T) { t.Helper(); w.awaitProblem(t, "", "") }

// grant does what an operator does who lets tenants have a kind.
func (w *customWorld) grant(t *testing.T, name, resource string) {
	t.Helper()
	w.grantReading(t, name, "shop.example.com", resource)
	w.grantWriting(t, name, "shop.example.com", resource)
}

func (w *customWorld) grantReading(t *testing.T, name, group string, resources ...string) {
	t.Helper()
	w.rights(t, name+"-read", "aggregate-to-agent", group, resources, "get", "list", "watch")
}

func (w *customWorld) grantWriting(t *testing.T, name, group string, resources ...string) {
	t.Helper()
	w.rights(t, name+"-write", "aggregate-to-agent-tenant", group, resources, "create", "patch", "delete")
}

func (w *customWorld) rights(t *testing.T, name, label, group string, resources []string, verbs ...string) {
	t.Helper()
	create(t, w.host, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"rbac.matryoshka.dev/" + label: "true"}},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{group}, Resources: resources, Verbs: verbs}},
	})
}

const widgetSchema = `{"type":"object","properties":{
	"spec":{"type":"object","properties":{
		"size":{"type":"integer"},"colour":{"type":"string","default":"blue"},
		"watchNamespace":{"type":"string"},
		"free":{"type":"object","x-kubernetes-preserve-unknown-fields":true},
		"peers":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"},"namespace":{"type":"string"}}}}}},
	"status":{"type":"object","properties":{"phase":{"type":"string"},"observedGeneration":{"type":"integer","format":"int64"}}}}}`

// definition is a host's, with a conversion webhook and annotations that must not reach tenants.
func definition(t *testing.T, plural, kind string) *unstructured.Unstructured {
	t.Helper()
	schema := &apiextensionsv1.JSONSchemaProps{}
	if err := json.Unmarshal([]byte(widgetSchema), schema); err != nil {
		t.Fatal(err)
	}
	version := apiextensionsv1.CustomResourceDefinitionVersion{
		Name: "v1", Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: schema},
		Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
	}
	older := *version.DeepCopy()
	older.Name, older.Storage = "v1beta1", false
	address := "https://127.0.0.1:1/convert"
	made := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + ".shop.example.com", Annotations: map[string]string{"cert-manager.io/inject-ca-from": "bank/ca"}},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "shop.example.com", Scope: apiextensionsv1.NamespaceScoped,
			Names:    apiextensionsv1.CustomResourceDefinitionNames{Plural: plural, Kind: kind},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{version, older},
			Conversion: &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.WebhookConverter, Webhook: &apiextensionsv1.WebhookConversion{
				ClientConfig: &apiextensionsv1.WebhookClientConfig{URL: &address}, ConversionReviewVersions: []string{"v1"},
			}},
		},
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(made)
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{Object: content}
	object.SetAPIVersion("apiextensions.k8s.io/v1")
	object.SetKind("CustomResourceDefinition")
	return object
}

func ofKind(apiVersion, kind string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	return object
}

func widget(namespace, name string, spec map[string]any) *unstructured.Unstructured {
	object := ofKind("shop.example.com/v1", "Widget")
	object.SetNamespace(namespace)
	object.SetName(name)
	object.Object["spec"] = spec
	return object
}

func field(object *unstructured.Unstructured, path ...string) any {
	value, _, _ := unstructured.NestedFieldNoCopy(object.Object, path...)
	return value
}

func (w *customWorld) testDefinition(t *testing.T) {
	key := client.ObjectKey{Name: widgets}
	check := func(virtual *unstructured.Unstructured) error {
		versions, _ := field(virtual, "spec", "versions").([]any)
		for _, version := range versions {
			version, _ := version.(map[string]any)
			if version["served"] != (version["name"] == "v1") {
				return fmt.Errorf("version %v: served is %v", version["name"], version["served"])
			}
		}
		return errors.Join(
			expect(field(virtual, "spec", "conversion", "strategy") == "None", "it is converted: %v", field(virtual, "spec", "conversion")),
			expect(field(virtual, "spec", "conversion", "webhook") == nil, "it has a webhook"),
			expect(len(virtual.GetAnnotations()) == 0, "annotations %v", virtual.GetAnnotations()),
			expect(virtual.GetLabels()[mapping.LabelMirror] == "true", "labels %v", virtual.GetLabels()),
		)
	}
	virtual := await(t, w.virtual, key, ofKind("apiextensions.k8s.io/v1", "CustomResourceDefinition"), check)
	change(t, w.virtual, virtual, func(virtual *unstructured.Unstructured) {
		virtual.Object["spec"].(map[string]any)["conversion"] = map[string]any{"strategy": "Webhook", "webhook": map[string]any{
			"clientConfig": map[string]any{"url": "https://127.0.0.1:1/"}, "conversionReviewVersions": []any{"v1"},
		}}
	})
	await(t, w.virtual, key, virtual, check)
}

func (w *customWorld) testToHost(t *testing.T, shop string) {
	create(t, w.virtual, widget("shop", "lamp", map[string]any{"size": int64(1), "peers": []any{map[string]any{"name": "a", "namespace": "other"}}}))
	key := client.ObjectKey{Namespace: shop, Name: "lamp"}
	host := await(t, w.host, key, widget("", "", nil), func(host *unstructured.Unstructured) error {
		peers, _ := field(host, "spec", "peers").([]any)
		peer, _ := peers[0].(map[string]any)
		return expect(peer["namespace"] == mapping.HostNamespace(w.tenant.ID, "other"), "peers %v", peers)
	})
	changeStatus(t, w.host, host, func(host *unstructured.Unstructured) {
		host.Object["status"] = map[string]any{"phase": "runs in " + shop, "observedGeneration": host.GetGeneration()}
	})
	virtual := widget("shop", "lamp", nil)
	statusIs := func(virtual *unstructured.Unstructured) error {
		return errors.Join(
			expect(field(virtual, "status", "phase") == "runs in shop", "status %v", field(virtual, "status")),
			expect(field(virtual, "status", "observedGeneration") == virtual.GetGeneration(), "status %v at generation %d", field(virtual, "status"), virtual.GetGeneration()))
	}
	await(t, w.virtual, client.ObjectKeyFromObject(virtual), virtual, statusIs)

	change(t, w.virtual, virtual, func(virtual *unstructured.Unstructured) {
		virtual.Object["spec"] = map[string]any{"size": int64(2), "colour": "red"}
	})
	await(t, w.host, key, host, func(host *unstructured.Unstructured) error {
		return expect(field(host, "spec", "size") == int64(2) && field(host, "spec", "peers") == nil, "spec %v", field(host, "spec"))
	})
	change(t, w.host, host, func(host *unstructured.Unstructured) { host.Object["spec"].(map[string]any)["size"] = int64(3) })
	await(t, w.host, key, host, func(host *unstructured.Unstructured) error {
		return expect(field(host, "spec", "size") == int64(2), "what was changed on the host is not put back: %v", field(host, "spec"))
	})
	remove(t, w.virtual, virtual)
	awaitGone(t, w.host, key, widget("", "", nil))
}

// testHostile: a tenant names what is not its own.
func (w *customWorld) testHostile(t *testing.T, shop string) {
	for name, spec := range map[string]map[string]any{
		"undeclared": {"watchNamespace": "kube-system"},
		"all":        {"watchNamespace": ""},
		"deep":       {"free": map[string]any{"a": []any{map[string]any{"nameSpace": "kube-system"}}}},
		"folded":     {"free": map[string]any{"name\u017fpace": "kube-system"}},
		"dotted":     {"free": map[string]any{"x.namespace": "kube-system"}},
		"not-a-name": {"peers": []any{map[string]any{"namespace": "../kube-system"}}},
	} {
		create(t, w.virtual, widget("shop", name, spec))
		w.awaitEvent(t, "shop", name, engine.ReasonNotSupported)
		never(t, w.host, client.ObjectKey{Namespace: shop, Name: name}, widget("", "", nil))
	}
	create(t, w.virtual, widget("shop", "thief", map[string]any{"peers": []any{map[string]any{"namespace": "kube-system"}}}))
	await(t, w.host, client.ObjectKey{Namespace: shop, Name: "thief"}, widget("", "", nil), func(host *unstructured.Unstructured) error {
		peers, _ := field(host, "spec", "peers").([]any)
		peer, _ := peers[0].(map[string]any)
		return expect(peer["namespace"] == mapping.HostNamespace(w.tenant.ID, "kube-system"), "peers %v", peers)
	})
	create(t, w.host, widget(shop, "taken", map[string]any{"size": int64(7)}))
	create(t, w.virtual, widget("shop", "taken", map[string]any{"size": int64(8)}))
	w.awaitEvent(t, "shop", "taken", engine.ReasonNameTaken)
	forged := widget("shop", "forged", nil)
	forged.SetLabels(map[string]string{mapping.LabelUID: "another"})
	create(t, w.virtual, forged)
	await(t, w.host, client.ObjectKey{Namespace: shop, Name: "forged"}, widget("", "", nil), func(host *unstructured.Unstructured) error {
		return expect(host.GetLabels()[mapping.LabelUID] == string(w.tenant.UID), "labels %v", host.GetLabels())
	})
	for _, kind := range []string{"virtualclusters.cluster.matryoshka.dev", "deployments.apps", "roles.rbac.authorization.k8s.io"} {
		w.ask(append(w.tenant.Spec.Sync.CustomResources[:1:1], clusterv1alpha1.CustomResource{Name: kind})...)
		w.awaitProblem(t, "Refused", kind)
	}
	w.ask(w.tenant.Spec.Sync.CustomResources[:1]...)
	w.awaitNoProblem(t)
}

// testNewSchema: what the host's definition learns, the tenant's knows too, and what its operator says of fields counts.
func (w *customWorld) testNewSchema(t *testing.T, shop string) {
	host := ofKind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
	host.SetName(widgets)
	change(t, w.host, host, func(host *unstructured.Unstructured) {
		host.SetAnnotations(map[string]string{
			customresource.AnnotationPlain: ".spec.watchNamespace", customresource.AnnotationRefused: ".spec.colour",
		})
		versions, _ := field(host, "spec", "versions").([]any)
		for _, version := range versions {
			properties, _, _ := unstructured.NestedFieldNoCopy(version.(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties")
			properties.(map[string]any)["weight"] = map[string]any{"type": "integer"}
			delete(properties.(map[string]any)["colour"].(map[string]any), "default")
		}
	})
	eventually(t, "the tenant has the new field", func() error {
		err := w.virtual.Create(t.Context(), widget("shop", "heavy", map[string]any{"weight": int64(9), "watchNamespace": "plain"}), client.FieldValidation("Strict"))
		return client.IgnoreAlreadyExists(err)
	})
	await(t, w.host, client.ObjectKey{Namespace: shop, Name: "heavy"}, widget("", "", nil), func(host *unstructured.Unstructured) error {
		return expect(field(host, "spec", "weight") == int64(9) && field(host, "spec", "watchNamespace") == "plain", "spec %v", field(host, "spec"))
	})
	create(t, w.virtual, widget("shop", "painted", map[string]any{"colour": "red"}))
	w.awaitEvent(t, "shop", "painted", engine.ReasonNotSupported)
	never(t, w.host, client.ObjectKey{Namespace: shop, Name: "painted"}, widget("", "", nil))
}

func (w *customWorld) testFromHost(t *testing.T, shop string) {
	w.ask(w.tenant.Spec.Sync.CustomResources[0], clusterv1alpha1.CustomResource{Name: gadgets, Direction: clusterv1alpha1.SyncFromHost})
	offered := create(t, w.host, definition(t, "gadgets", "Gadget"))
	w.grant(t, "gadgets", "gadgets")
	w.awaitProblem(t, "NotGranted", mapping.LabelOffer)
	change(t, w.host, offered, func(offered *unstructured.Unstructured) {
		offered.SetLabels(map[string]string{mapping.LabelOffer: "true"})
	})
	w.awaitNoProblem(t)
	gadget := func(namespace, name string, size int64) *unstructured.Unstructured {
		object := widget(namespace, name, map[string]any{"size": size, "watchNamespace": namespace})
		object.SetKind("Gadget")
		return object
	}
	create(t, w.host, gadget("default", "radio", 1))
	host := create(t, w.host, gadget(shop, "radio", 2))
	key := client.ObjectKey{Namespace: "shop", Name: "radio"}
	is := func(size int64) func(*unstructured.Unstructured) error {
		return func(virtual *unstructured.Unstructured) error {
			return expect(field(virtual, "spec", "size") == size && field(virtual, "spec", "watchNamespace") == "shop", "spec %v", field(virtual, "spec"))
		}
	}
	virtual := await(t, w.virtual, key, gadget("", "", 0), is(2))
	change(t, w.virtual, virtual, func(virtual *unstructured.Unstructured) { virtual.Object["spec"] = map[string]any{"size": int64(99)} })
	await(t, w.virtual, key, virtual, is(2))
	changeStatus(t, w.host, host, func(host *unstructured.Unstructured) { host.Object["status"] = map[string]any{"phase": "on"} })
	await(t, w.virtual, key, virtual, func(virtual *unstructured.Unstructured) error {
		return expect(field(virtual, "status", "phase") == "on", "status %v", field(virtual, "status"))
	})
	never(t, w.virtual, client.ObjectKey{Namespace: "default", Name: "radio"}, gadget("", "", 0))
	create(t, w.virtual, gadget("shop", "own", 5))
	never(t, w.host, client.ObjectKey{Namespace: shop, Name: "own"}, gadget("", "", 0))
	remove(t, w.host, host)
	awaitGone(t, w.virtual, key, gadget("", "", 0))
	await(t, w.virtual, client.ObjectKey{Namespace: "shop", Name: "own"}, gadget("", "", 0), func(*unstructured.Unstructured) error { return nil })
}

// testOwnDefinition: a tenant's own definition of the name is not replaced.
func (w *customWorld) testOwnDefinition(t *testing.T) {
	own := definition(t, "tools", "Tool")
	own.SetAnnotations(nil)
	create(t, w.virtual, own)
	create(t, w.host, definition(t, "tools", "Tool"))
	w.grant(t, "tools", "tools")
	before := w.tenant.Spec.Sync.CustomResources
	w.ask(append(before[:len(before):len(before)], clusterv1alpha1.CustomResource{Name: own.GetName()})...)
	w.awaitProblem(t, "NameTaken", own.GetName())
	w.ask(before...)
	w.awaitNoProblem(t)
}

// testWithdrawn: without its right the kind stops, and nothing is lost.
func (w *customWorld) testWithdrawn(t *testing.T, shop string) {
	remove(t, w.host, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "widgets-write"}})
	w.awaitProblem(t, "NotGranted", widgets)
	create(t, w.virtual, widget("shop", "late", nil))
	never(t, w.host, client.ObjectKey{Namespace: shop, Name: "late"}, widget("", "", nil))
	await(t, w.host, client.ObjectKey{Namespace: shop, Name: "heavy"}, widget("", "", nil), func(*unstructured.Unstructured) error { return nil })
	w.grant(t, "again", "widgets")
	await(t, w.host, client.ObjectKey{Namespace: shop, Name: "late"}, widget("", "", nil), func(*unstructured.Unstructured) error { return nil })
}
