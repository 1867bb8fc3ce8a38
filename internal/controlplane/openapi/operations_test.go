package openapi_test

import (
	"net/http"
	"runtime"
	"testing"
	"weak"

	"github.com/emicklei/go-restful/v3"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/kube-openapi/pkg/builder"
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/openapi"
)

// TestConfigurationsForgetTheModels builds a document of each version and looks whether the models go away while the
// configurations stay.
func TestConfigurationsForgetTheModels(t *testing.T) {
	var built []weak.Pointer[spec.Schema]
	models := func(common.ReferenceCallback) map[string]common.OpenAPIDefinition {
		schema := spec.StringProperty()
		built = append(built, weak.Make(schema))
		return map[string]common.OpenAPIDefinition{"model": {Schema: spec.Schema{SchemaProps: spec.SchemaProps{Items: &spec.SchemaOrArray{Schema: schema}}}}}
	}
	v2 := &common.Config{GetDefinitions: models, Info: &spec.Info{}, GetOperationIDAndTags: openapinamer.GetOperationIDAndTags}          //nolint:staticcheck // upstream still sets only this one
	v3 := &common.OpenAPIV3Config{GetDefinitions: models, Info: &spec.Info{}, GetOperationIDAndTags: openapinamer.GetOperationIDAndTags} //nolint:staticcheck // upstream still sets only this one
	openapi.NameOperations(v2, v3)

	routes := restfuladapter.AdaptWebServices([]*restful.WebService{webService()})
	document2, err := builder.BuildOpenAPISpecFromRoutes(routes, v2)
	if err != nil || document2.Paths.Paths["/things/one"].Get.ID != "listThings" {
		t.Errorf("version 2: %+v, %v", document2, err)
	}
	document3, err := builder3.BuildOpenAPISpecFromRoutes(routes, v3)
	if err != nil || document3.Paths.Paths["/things/one"].Get.OperationId != "listThings" {
		t.Errorf("version 3: %+v, %v", document3, err)
	}
	runtime.GC()
	if len(built) != 2 {
		t.Fatalf("models were made %d times", len(built))
	}
	for i, model := range built {
		if model.Value() != nil {
			t.Errorf("the models of version %d are kept", i+2)
		}
	}
	runtime.KeepAlive(v2)
	runtime.KeepAlive(v3)
}

func webService() *restful.WebService {
	service := new(restful.WebService).Path("/things")
	service.Route(service.GET("/one").Operation("listThings").Produces("application/json").
		To(func(*restful.Request, *restful.Response) {}).Returns(http.StatusOK, "OK", ""))
	return service
}
