package integration

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	// Imported so that the modules are there whose definitions are installed.
	_ "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	_ "sigs.k8s.io/gateway-api/pkg/consts"
	"sigs.k8s.io/yaml"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostranges"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/customresource"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/endpointslice"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/ingress"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/ingressclass"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/persistentvolume"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/persistentvolumeclaim"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/pod"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/referenced"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/service"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/storageclass"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
	"github.com/matryoshka-dev/matryoshka/internal/testenv/faults"
)

const (
	gatewayGroup   = "gateway.networking.k8s.io"
	gatewayModule  = "sigs.k8s.io/gateway-api"
	gatewayClasses = "gatewayclasses." + gatewayGroup
)

// TestBuiltInCustomResources: custom resources that the agent knows, by their makers' own definitions.
func TestBuiltInCustomResources(t *testing.T) {
	w := &customWorld{
		world: newWorld(t), registry: tenants.NewRegistry(), late: faults.Late{By: map[string]time.Duration{"volumesnapshots": 2 * time.Second}},
	}
	w.host, w.virtual = anyClient(t, w.hostConfig), anyClient(t, w.tenant.VirtualConfig)
	testenv.AggregateClusterRoles(t, w.hostConfig)
	w.serve(t, func(*customresource.Source) []engine.Kind {
		ranges := hostranges.NewSource(newClient(t, w.agentConfig), time.Now)
		secrets := pod.NewSecretCopier(ingress.SecretReferrer())
		return []engine.Kind{
			service.New(time.Now), endpointslice.New(ranges), persistentvolumeclaim.New(), persistentvolume.New(), storageclass.New(),
			ingress.New(ingress.Options{Secrets: secrets}), referenced.NewKind(secrets), ingressclass.New(),
		}
	})
	t.Run("gateway classes", w.testGatewayClasses)
	t.Run("snapshots", w.testSnapshots)
	t.Run("routes", w.testRoutes)
}

// installUpstream installs the definition of a kind from the module of those who make it.
func (w *customWorld) installUpstream(t *testing.T, module, file string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	folder, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("find module %s: %v", module, err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(folder)), "config", "crd", file))
	if err != nil {
		t.Fatal(err)
	}
	definition := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(data, definition); err != nil {
		t.Fatal(err)
	}
	create(t, w.host, definition)
	await(t, w.host, client.ObjectKeyFromObject(definition), definition, func(definition *unstructured.Unstructured) error {
		conditions, _ := field(definition, "status", "conditions").([]any)
		for _, condition := range conditions {
			if condition, _ := condition.(map[string]any); condition["type"] == "Established" && condition["status"] == "True" {
				return nil
			}
		}
		return errors.New("it is not served")
	})
}

func gatewayClass(name, controller string) *unstructured.Unstructured {
	class := ofKind(gatewayGroup+"/v1", "GatewayClass")
	class.SetName(name)
	class.Object["spec"] = map[string]any{
		"controllerName": controller, "description": "for everybody",
		"parametersRef": map[string]any{"group": "infra.example.com", "kind": "Config", "name": "secret", "namespace": "infra"},
	}
	return class
}

func (w *customWorld) testGatewayClasses(t *testing.T) {
	before := w.tenant.Spec.Sync.CustomResources
	w.ask(clusterv1alpha1.CustomResource{Name: gatewayClasses})
	w.awaitProblem(t, "NotOnHost", gatewayClasses)
	w.installUpstream(t, gatewayModule, "standard/gateway.networking.k8s.io_gatewayclasses.yaml")
	w.awaitProblem(t, "Refused", "direction: fromHost")
	w.ask(clusterv1alpha1.CustomResource{Name: gatewayClasses, Direction: clusterv1alpha1.SyncFromHost})
	w.awaitProblem(t, "NotGranted", gatewayClasses)
	w.grantReading(t, "gatewayclasses", gatewayGroup, "gatewayclasses")
	w.awaitNoProblem(t)

	own := gatewayClass("own", "example.com/mine")
	delete(own.Object["spec"].(map[string]any), "parametersRef")
	eventually(t, "the tenant's API server has the kind", func() error { return w.virtual.Create(t.Context(), own) })
	create(t, w.host, gatewayClass("own", "example.com/controller"))
	hidden := gatewayClass("hidden", "example.com/controller")
	hidden.SetLabels(map[string]string{mapping.LabelOffer: "false"})
	create(t, w.host, hidden)
	shown := create(t, w.host, gatewayClass("public", "example.com/controller"))
	key := client.ObjectKey{Name: "public"}
	is := func(controller string) func(*unstructured.Unstructured) error {
		return func(mirror *unstructured.Unstructured) error {
			return errors.Join(
				expect(field(mirror, "spec", "controllerName") == controller && field(mirror, "spec", "description") == "for everybody", "spec %v", field(mirror, "spec")),
				expect(field(mirror, "spec", "parametersRef") == nil, "it names the host's parameters: %v", field(mirror, "spec")),
				expect(mirror.GetLabels()[mapping.LabelMirror] == "true", "labels %v", mirror.GetLabels()))
		}
	}
	mirror := await(t, w.virtual, key, gatewayClass("", ""), is("example.com/controller"))
	changeStatus(t, w.host, shown, func(shown *unstructured.Unstructured) {
		shown.Object["status"] = map[string]any{"conditions": []any{map[string]any{
			"type": "Accepted", "status": "True", "reason": "Accepted", "message": "by Config infra/secret", "lastTransitionTime": "2026-01-01T00:00:00Z",
		}}}
	})
	await(t, w.virtual, key, mirror, func(mirror *unstructured.Unstructured) error {
		conditions, _ := field(mirror, "status", "conditions").([]any)
		if len(conditions) != 1 {
			return errors.New("no condition")
		}
		condition, _ := conditions[0].(map[string]any)
		return expect(condition["type"] == "Accepted" && condition["status"] == "True" && condition["message"] == "", "condition %v", condition)
	})
	change(t, w.virtual, mirror, func(mirror *unstructured.Unstructured) {
		mirror.Object["spec"].(map[string]any)["description"] = "mine"
	})
	await(t, w.virtual, key, mirror, is("example.com/controller"))
	never(t, w.virtual, client.ObjectKey{Name: "hidden"}, gatewayClass("", ""))

	remove(t, w.host, shown)
	shown = create(t, w.host, gatewayClass("public", "example.com/other"))
	await(t, w.virtual, key, mirror, is("example.com/other"))
	change(t, w.host, shown, func(shown *unstructured.Unstructured) {
		shown.SetLabels(map[string]string{mapping.LabelOffer: "false"})
	})
	awaitGone(t, w.virtual, key, gatewayClass("", ""))
	await(t, w.virtual, client.ObjectKey{Name: "own"}, gatewayClass("", ""), func(own *unstructured.Unstructured) error {
		return expect(field(own, "spec", "controllerName") == "example.com/mine", "the tenant's own was changed: %v", field(own, "spec"))
	})
	w.ask(before...)
}
