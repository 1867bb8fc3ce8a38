package testenv

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// installCRDs installs config/crd and waits until the kinds are served.
func installCRDs(t testing.TB, c *rest.Config) {
	t.Helper()
	client, err := apiextensions.NewForConfig(c)
	if err != nil {
		t.Fatalf("create the CRD client: %v", err)
	}
	_, self, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("cannot find the repository")
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(self), "..", "..", "config", "crd", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs in config/crd: %v", err)
	}
	for _, file := range files {
		installCRD(t, client, file)
	}
}

// isServed tells whether requests for a kind are answered and clients find it: both come some moments after it is established.
func isServed(ctx context.Context, client apiextensions.Interface, crd *apiextensionsv1.CustomResourceDefinition) bool {
	for _, version := range crd.Spec.Versions {
		if !version.Served {
			continue
		}
		of := crd.Spec.Group + "/" + version.Name
		known, err := client.Discovery().ServerResourcesForGroupVersion(of)
		if err != nil || !slices.ContainsFunc(known.APIResources, func(one metav1.APIResource) bool { return one.Name == crd.Spec.Names.Plural }) {
			return false
		}
		if client.Discovery().RESTClient().Get().AbsPath("/apis", of, crd.Spec.Names.Plural).Do(ctx).Error() != nil {
			return false
		}
	}
	return true
}

func installCRD(t testing.TB, client apiextensions.Interface, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("read a CRD: %v", err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, crd); err != nil {
		t.Fatalf("parse %s: %v", file, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	crds := client.ApiextensionsV1().CustomResourceDefinitions()
	if _, err := crds.Create(ctx, crd, metav1.CreateOptions{}); err != nil {
		t.Fatalf("create CRD %q: %v", crd.Name, err)
	}
	err = wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		current, err := crds.Get(ctx, crd.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, condition := range current.Status.Conditions {
			if condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue {
				return isServed(ctx, client, crd), nil
			}
		}
		return false, nil
	})
	if err != nil {
		t.Fatalf("CRD %q is not served: %v", crd.Name, err)
	}
}
