package openapi

import (
	"fmt"

	"github.com/emicklei/go-restful/v3"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"
)

// NameOperations sets in both configurations how operations are named, as upstream would at the first build. Upstream's
// function holds that build, and with it all models of Kubernetes (10 MiB), for as long as the configuration lives.
func NameOperations(v2 *common.Config, v3 *common.OpenAPIV3Config) {
	v2.GetOperationIDAndTagsFromRoute = ofRoute(v2.GetOperationIDAndTags) //nolint:staticcheck // upstream still sets only this one
	v3.GetOperationIDAndTagsFromRoute = ofRoute(v3.GetOperationIDAndTags) //nolint:staticcheck // upstream still sets only this one
}

func ofRoute(name func(*restful.Route) (string, []string, error)) func(common.Route) (string, []string, error) {
	return func(route common.Route) (string, []string, error) {
		adapted, ok := route.(*restfuladapter.RouteAdapter)
		if !ok {
			return "", nil, fmt.Errorf("a route of %s came as %T", route.Path(), route)
		}
		return name(adapted.Route)
	}
}
