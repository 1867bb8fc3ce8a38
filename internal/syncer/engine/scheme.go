package engine

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Scheme knows the types of both sides. It is never changed.
var Scheme = clientgoscheme.Scheme

// clusterScoped are the kinds without namespace among those that the engine's clients can be asked for.
var clusterScoped = map[string]bool{
	"Namespace": true, "Node": true, "PersistentVolume": true, "StorageClass": true, "CSINode": true, "CSIDriver": true,
	"VolumeAttachment": true, "IngressClass": true, "IPAddress": true, "ServiceCIDR": true, "ClusterRole": true,
	"ClusterRoleBinding": true, "PriorityClass": true, "RuntimeClass": true, "VolumeAttributesClass": true,
}

// CustomResourceDefinition is read and written as unstructured: Scheme does not know it.
var CustomResourceDefinition = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

var mappedVersions = []schema.GroupVersion{
	{Version: "v1"},
	{Group: "apps", Version: "v1"},
	{Group: "batch", Version: "v1"},
	{Group: "discovery.k8s.io", Version: "v1"},
	{Group: "networking.k8s.io", Version: "v1"},
	{Group: "node.k8s.io", Version: "v1"},
	{Group: "policy", Version: "v1"},
	{Group: "rbac.authorization.k8s.io", Version: "v1"},
	{Group: "scheduling.k8s.io", Version: "v1"},
	{Group: "storage.k8s.io", Version: "v1"},
}

// NewMapper is a RESTMapper of built-in kinds that asks nobody: discovery would cost every tenant a dozen requests.
func NewMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(mappedVersions)
	for _, version := range mappedVersions {
		for kind := range Scheme.KnownTypes(version) {
			scope := meta.RESTScopeNamespace
			if clusterScoped[kind] {
				scope = meta.RESTScopeRoot
			}
			mapper.Add(version.WithKind(kind), scope)
		}
	}
	mapper.Add(CustomResourceDefinition, meta.RESTScopeRoot)
	return mapper
}

// gvkOf is the group, version and kind of an object of a type that Scheme knows, or of a PartialObjectMetadata.
func gvkOf(object runtime.Object) schema.GroupVersionKind {
	if partial, ok := object.(*metav1.PartialObjectMetadata); ok {
		return partial.GroupVersionKind()
	}
	gvk, err := apiutil.GVKForObject(object, Scheme)
	if err != nil {
		// Only a type that no client could send ends here: a programming error that every call would show.
		panic(err)
	}
	return gvk
}

func kindOf(object client.Object) string { return gvkOf(object).Kind }

// MetadataOnly is an empty object that makes a Trigger or a client read only the metadata of a type.
func MetadataOnly(empty client.Object) *metav1.PartialObjectMetadata {
	partial := &metav1.PartialObjectMetadata{}
	partial.SetGroupVersionKind(gvkOf(empty))
	return partial
}
