package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
)

// What comes and goes on a host by itself.
var transient = map[string]bool{"events": true, "leases": true, "componentstatuses": true}

// measurements are no objects, a pod has one some time after it has come; and who measures may not answer for a moment.
const measurements = "metrics.k8s.io"

// inventory lists every object of the host: resource, namespace, name and UID.
func (h *host) inventory(ctx context.Context, t *testing.T) (map[string]bool, error) {
	t.Helper()
	config := h.config(t)
	finder, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 200, 200
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	lists, err := finder.ServerPreferredResources()
	failed, isPart := discovery.GroupDiscoveryFailedErrorGroups(err)
	if maps.DeleteFunc(failed, func(version schema.GroupVersion, _ error) bool { return version.Group == measurements }); err != nil && (!isPart || len(failed) > 0) {
		return nil, err
	}
	found := map[string]bool{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		if version.Group == measurements {
			continue
		}
		for _, resource := range list.APIResources {
			if transient[resource.Name] || !slices.Contains(resource.Verbs, "list") {
				continue
			}
			objects, err := client.Resource(version.WithResource(resource.Name)).List(ctx, metav1.ListOptions{})
			if apierrors.IsNotFound(err) {
				continue // its definition has just gone
			}
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", resource.Name, err)
			}
			for _, object := range objects.Items {
				found[fmt.Sprintf("%s %s/%s %s", resource.Name, object.Namespace, object.Name, object.UID)] = true
			}
		}
	}
	return found, nil
}

// Deleting a virtual cluster removes everything that it brought onto the host, and nothing else. Not parallel: objects of
// other tests would come and go meanwhile.
func TestDeleteLeavesNothingOnTheHost(t *testing.T) {
	const namespace, name = "e2e-delete", "brief"
	ensureHostNamespace(t, shared, namespace)
	var before map[string]bool
	host := shared.client(t)
	// The namespace gets its own objects a moment later, and volumes of tests before go some time after their claims.
	eventually(t, startTimeout, func(ctx context.Context) error {
		if _, err := host.CoreV1().ServiceAccounts(namespace).Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{}); err != nil {
			return err
		}
		if _, err := host.CoreV1().ConfigMaps(namespace).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{}); err != nil {
			return err
		}
		volumes, err := host.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, volume := range volumes.Items {
			if volume.Status.Phase != corev1.VolumeBound {
				return fmt.Errorf("volume %q is %s", volume.Name, volume.Status.Phase)
			}
		}
		first, err := shared.inventory(ctx, t)
		if err != nil {
			return err
		}
		if before, err = shared.inventory(ctx, t); err != nil {
			return err
		}
		if difference := differences(first, before); len(difference) > 0 {
			return fmt.Errorf("the host is not at rest: %s", strings.Join(difference, "; "))
		}
		return nil
	})

	v := openTenant(t, shared, namespace, name, func() error {
		return shared.matry(t.Context(), "create", "vc", name, "-n", namespace, "--timeout", createTimeout.String()).err
	})
	v.apply(t, "default", testdata(t, "statefulset.yaml"))
	v.apply(t, "default", testdata(t, "deployment.yaml"))
	v.podReady(t, "default", "db-0")
	v.deploymentReady(t, "default", "web")
	var during map[string]bool
	eventually(t, startTimeout, func(ctx context.Context) (err error) {
		during, err = shared.inventory(ctx, t)
		return err
	})
	if len(differences(before, during)) < 10 {
		t.Fatal("a virtual cluster with workloads adds fewer than 10 objects to the host: this test looks in the wrong place")
	}

	shared.mustMatry(t, "delete", "vc", name, "-n", namespace, "--timeout", waitTimeout.String())
	eventually(t, time.Minute, func(ctx context.Context) error {
		after, err := shared.inventory(ctx, t)
		if err != nil {
			return err
		}
		if difference := differences(before, after); len(difference) > 0 {
			return errors.New(strings.Join(difference, "\n"))
		}
		return nil
	})

	t.Run("its kubeconfig is of no use", func(t *testing.T) {
		if seen := v.kubectl(t.Context(), "get", "pods", "--request-timeout=20s"); seen.code == 0 || seen.stderr == "" {
			t.Errorf("code %d, %q: want an error", seen.code, seen.stderr)
		}
		seen := shared.matry(t.Context(), "kubeconfig", "vc", name, "-n", namespace)
		if seen.code != 3 || !strings.Contains(seen.stderr, name) {
			t.Errorf("matry kubeconfig vc %s: code %d, %q; want 3 and the name", name, seen.code, seen.stderr)
		}
	})
}

// differences lists what is in one set only.
func differences(before, after map[string]bool) []string {
	var found []string
	for object := range before {
		if !after[object] {
			found = append(found, "gone: "+object)
		}
	}
	for object := range after {
		if !before[object] {
			found = append(found, "new: "+object)
		}
	}
	slices.Sort(found)
	return found
}
