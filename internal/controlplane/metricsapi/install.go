package metricsapi

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/metrics/pkg/apis/metrics"
	metricsinstall "k8s.io/metrics/pkg/apis/metrics/install"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// Install serves the API on a server, from its own informers of pods and nodes. The aggregator learns of it by
// bootstrap.EnsureMetricsAPI.
func Install(server *genericapiserver.GenericAPIServer, shared informers.SharedInformerFactory, ask Ask) error {
	// The node authorizer has these informers anyway.
	pods, nodes := shared.Core().V1().Pods(), shared.Core().V1().Nodes()
	s := &source{
		ask: ask, pods: pods.Lister(), nodes: nodes.Lister(),
		synced: []cache.InformerSynced{pods.Informer().HasSynced, nodes.Informer().HasSynced},
	}
	scheme := runtime.NewScheme()
	metricsinstall.Install(scheme)
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	group := genericapiserver.NewDefaultAPIGroupInfo(metrics.GroupName, scheme, metav1.ParameterCodec, serializer.NewCodecFactory(scheme))
	group.VersionedResourcesStorageMap[metricsv1beta1.SchemeGroupVersion.Version] = map[string]rest.Storage{
		"pods": &podStorage{source: s}, "nodes": &nodeStorage{source: s},
	}
	if err := server.InstallAPIGroup(&group); err != nil {
		return fmt.Errorf("serve metrics.k8s.io: %w", err)
	}
	return nil
}
