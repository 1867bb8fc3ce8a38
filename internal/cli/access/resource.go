package access

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/restmapper"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// resolve fills in what a word means to this host cluster: "po", "deploy", "deployments.apps", "pods/log", "accounts/shop" or a
// path such as "/metrics".
func (q *Question) resolve(word string, mapper meta.RESTMapper, server discovery.CachedDiscoveryInterface) error {
	if strings.HasPrefix(word, "/") {
		q.Path = word
		return nil
	}
	first, rest, _ := strings.Cut(word, "/")
	if first == "*" {
		q.Resource, q.Group, q.Subresource, q.Namespaced = "*", "*", rest, true
		return nil
	}
	expander := restmapper.NewShortcutExpander(mapper, server, nil)
	versioned, group := schema.ParseResourceArg(strings.ToLower(first))
	found, err := schema.GroupVersionResource{}, error(nil)
	if versioned != nil {
		found, err = expander.ResourceFor(*versioned)
	}
	if versioned == nil || err != nil {
		found, err = expander.ResourceFor(group.WithVersion(""))
	}
	if meta.IsNoMatchError(err) {
		return exit.WithNext(exit.Usagef("the host cluster has no resource %q", first), "`matry kubectl api-resources` lists them; RESOURCE.GROUP chooses one of several")
	}
	if err != nil {
		return fmt.Errorf("find resource %q: %w", first, err)
	}
	q.Group, q.Resource = found.Group, found.Resource
	served, err := server.ServerResourcesForGroupVersion(found.GroupVersion().String())
	if err != nil {
		return fmt.Errorf("find resource %q: %w", first, err)
	}
	return q.complete(rest, served.APIResources)
}

// complete takes what is behind the slash for a subresource if there is such a one, or else for a name.
func (q *Question) complete(rest string, served []metav1.APIResource) error {
	index := slices.IndexFunc(served, func(resource metav1.APIResource) bool { return resource.Name == q.Resource })
	if index >= 0 {
		q.Namespaced = served[index].Namespaced
	}
	if rest == "" {
		return nil
	}
	isSubresource := slices.ContainsFunc(served, func(resource metav1.APIResource) bool { return resource.Name == q.Resource+"/"+rest })
	switch {
	case isSubresource:
		q.Subresource = rest
	case q.Name != "":
		return exit.Usagef("%s has no subresource %q, and %q is the name already", q.Resource, rest, q.Name)
	default:
		q.Name = rest
	}
	return nil
}
