package controlplane_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// document asks for a path of OpenAPI as JSON.
func document(t *testing.T, client kubernetes.Interface, path string) (string, error) {
	t.Helper()
	u, err := url.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	request := client.Discovery().RESTClient().Get().AbsPath(u.Path).SetHeader("Accept", "application/json")
	for key, values := range u.Query() {
		request = request.Param(key, values[0])
	}
	data, err := request.DoRaw(t.Context())
	return string(data), err
}

// openAPI checks that kinds of all three servers are in both versions of OpenAPI, and that the URLs of the index work.
func openAPI(t *testing.T, client kubernetes.Interface, admin *rest.Config) {
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "ships.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "ships", Singular: "ship", Kind: "Ship", ListKind: "ShipList"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"sails": {Type: "integer", Description: "How many sails."}},
				}},
			}},
		},
	}
	if _, err := apiextensions.NewForConfigOrDie(admin).ApiextensionsV1().CustomResourceDefinitions().Create(t.Context(), crd, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{
		"api/v1":                         "io.k8s.api.core.v1.Pod",
		"apis/apps/v1":                   "io.k8s.api.apps.v1.Deployment",
		"apis/apiextensions.k8s.io/v1":   "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
		"apis/apiregistration.k8s.io/v1": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
		"apis/example.com/v1":            "How many sails.",
	}
	for path, kind := range kinds {
		eventually(t, path, func() error {
			index, err := document(t, client, "/openapi/v3")
			if err != nil {
				return err
			}
			parsed := struct {
				Paths map[string]struct{ ServerRelativeURL string }
			}{}
			if err := json.Unmarshal([]byte(index), &parsed); err != nil {
				t.Fatal(err)
			}
			where := parsed.Paths[path].ServerRelativeURL
			if where == "" {
				return errors.New("not in the index")
			}
			text, err := document(t, client, where)
			if err == nil && !strings.Contains(text, kind) {
				return errors.New(kind + " is missing")
			}
			return err
		})
	}
	eventually(t, "version 2", func() error {
		text, err := document(t, client, "/openapi/v2")
		if err != nil {
			return err
		}
		for _, kind := range kinds {
			if !strings.Contains(text, kind) {
				return errors.New(kind + " is missing")
			}
		}
		return nil
	})
	if _, err := document(t, client, "/openapi/v3/apis/none/v1"); err == nil {
		t.Error("an unknown group was served")
	}
}
