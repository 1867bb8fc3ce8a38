package embeddedhost

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/await"
	"github.com/matryoshka-dev/matryoshka/internal/cli/demo"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/kubeconfig"
	"github.com/matryoshka-dev/matryoshka/internal/cli/virtualcluster"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// demoCluster is the virtual cluster of the demo.
var demoCluster = client.ObjectKey{Namespace: "demo", Name: "hello"}

// showDemo creates a virtual cluster, deploys an app inside it as its tenant, and prints the app's answer.
func (o *upOptions) showDemo(ctx context.Context, config *rest.Config, images productImages) error {
	hostClient, err := hostcluster.NewClient(config)
	if err != nil {
		return err
	}
	err = o.report.Phase(ctx, fmt.Sprintf("virtual cluster %s is ready", demoCluster), func(ctx context.Context, detail func(string)) error {
		return ensureDemoCluster(ctx, hostClient, images.reference("matryd"), detail)
	})
	if err != nil {
		return err
	}
	tenant, err := tenantConfig(ctx, hostClient)
	if err != nil {
		return err
	}
	err = o.report.Phase(ctx, "the demo app runs inside it", func(ctx context.Context, detail func(string)) error {
		if err := demo.WaitAnswers(ctx, tenant, detail); err != nil {
			return err
		}
		return demo.Deploy(ctx, tenant, demoCluster.Name, images.reference("demo"), detail)
	})
	if err != nil {
		return err
	}
	var answer string
	err = o.report.Phase(ctx, "the demo app answers", func(ctx context.Context, detail func(string)) (err error) {
		answer, err = demo.Ask(ctx, tenant, detail)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(o.Out, indent(answer))
	o.report.Note("next: `matry connect virtualcluster %s -n %s -- kubectl get pods -A`", demoCluster.Name, demoCluster.Namespace)
	return nil
}

func ensureDemoCluster(ctx context.Context, hostClient client.WithWatch, matryd string, detail func(string)) error {
	if err := virtualcluster.EnsureNamespace(ctx, hostClient, demoCluster.Namespace); err != nil {
		return err
	}
	vc := &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: demoCluster.Namespace, Name: demoCluster.Name}}
	if err := hostClient.Create(ctx, vc, client.FieldOwner("matry")); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create virtual cluster %q: %w", demoCluster, err)
	}
	ready, err := virtualcluster.Kind.WaitReady(ctx, hostClient, demoCluster, detail)
	if err != nil {
		return err
	}
	return waitControlPlane(ctx, hostClient, ready.Status.ID, matryd, detail)
}

// controlPlane is the name of a virtual cluster's StatefulSet in its control namespace.
const controlPlane = "controlplane"

// waitControlPlane waits until the control plane runs this build. After an upgrade of the agent the virtual cluster is Ready
// until its control plane is replaced.
func waitControlPlane(ctx context.Context, hostClient client.WithWatch, id, matryd string, detail func(string)) error {
	key := client.ObjectKey{Namespace: mapping.ControlNamespace(id), Name: controlPlane}
	err := await.Until(ctx, hostClient, key, &appsv1.StatefulSetList{}, func(set *appsv1.StatefulSet, exists bool) (bool, error) {
		if exists && isRolledOut(set, matryd) {
			return true, nil
		}
		detail("the control plane is replaced by that of this version")
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("wait until the control plane %q runs %s: %w", key, matryd, err)
	}
	return nil
}

// isRolledOut tells whether all pods are of this build. Whether they answer is asked of the API server itself: that is known
// sooner than the readiness of the pods.
func isRolledOut(set *appsv1.StatefulSet, matryd string) bool {
	wanted := int32(1)
	if set.Spec.Replicas != nil {
		wanted = *set.Spec.Replicas
	}
	containers, status := set.Spec.Template.Spec.Containers, set.Status
	return len(containers) > 0 && containers[0].Image == matryd &&
		status.ObservedGeneration >= set.Generation && status.Replicas == status.UpdatedReplicas && status.UpdatedReplicas >= wanted
}

// tenantConfig is how the tenant reaches the virtual cluster: by the kubeconfig in its Secret and nothing else.
func tenantConfig(ctx context.Context, hostClient client.Reader) (*rest.Config, error) {
	tenantKubeconfig, err := kubeconfig.Get(ctx, hostClient, demoCluster)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.NewDefaultClientConfig(*tenantKubeconfig, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("use the kubeconfig of virtual cluster %q: %w", demoCluster, err)
	}
	return config, nil
}

// indent puts the demo's answer apart from the lines around it.
func indent(text string) string {
	return "\n    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ") + "\n"
}
