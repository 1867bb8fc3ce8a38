package hostcluster

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/version"
)

// Scheme knows every type that the CLI reads and writes.
var Scheme = newScheme()

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, discoveryv1.AddToScheme, rbacv1.AddToScheme,
		authenticationv1.AddToScheme, authorizationv1.AddToScheme,
		clusterv1alpha1.AddToScheme, tenancyv1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			// Only two types of one name can cause it, which every test of this package would show.
			panic(err)
		}
	}
	return scheme
}

// Client of the host cluster.
func (t *Target) Client() (client.WithWatch, error) {
	config, err := t.RESTConfig()
	if err != nil {
		return nil, err
	}
	return NewClient(config)
}

// NewClient returns a client for the types of Scheme. It does not ask the cluster what it has: that would take longer
// than most commands.
func NewClient(config *rest.Config) (client.WithWatch, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = "matry/" + version.Version
	// A person waits for the answer; the API server has its own flow control.
	config.QPS = -1
	hostClient, err := client.NewWithWatch(config, client.Options{Scheme: Scheme, Mapper: newMapper()})
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	return hostClient, nil
}

// newMapper knows the resources of Scheme's kinds.
func newMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	clusterScoped := map[schema.GroupVersionKind]bool{}
	for group, kinds := range map[schema.GroupVersion][]string{
		corev1.SchemeGroupVersion:           {"Namespace", "Node", "PersistentVolume"},
		rbacv1.SchemeGroupVersion:           {"ClusterRole", "ClusterRoleBinding"},
		authenticationv1.SchemeGroupVersion: {"SelfSubjectReview"},
		authorizationv1.SchemeGroupVersion:  {"SubjectAccessReview", "SelfSubjectAccessReview", "SelfSubjectRulesReview"},
		tenancyv1alpha1.GroupVersion:        {"Account", "AccountQuota", "Space", "SpaceTemplate", "Template"},
	} {
		for _, kind := range kinds {
			clusterScoped[group.WithKind(kind)] = true
		}
	}
	// The CRDs of the product are applied without their types, which would bring a second copy of the API.
	mapper.Add(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}, meta.RESTScopeRoot)
	for kind := range Scheme.AllKnownTypes() {
		scope := meta.RESTScopeNamespace
		if clusterScoped[kind] {
			scope = meta.RESTScopeRoot
		}
		mapper.Add(kind, scope)
	}
	return mapper
}
