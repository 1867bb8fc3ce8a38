package template

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// InstanceIdentity is the name of the service account that instances are applied as: one in each space, with the rights of its
	// people. There is no such object, so that nobody gets a token of it; a policy of the chart keeps the name free.
	InstanceIdentity = "matryoshka-templates"
	// SpaceIdentity is the name of the service account in the agent's namespace that space templates are applied as.
	SpaceIdentity = "matryoshka-space-templates"
)

type identityKey struct{}

// as makes everything that is done with the context be done as a service account.
func as(ctx context.Context, namespace, name string) context.Context {
	return context.WithValue(ctx, identityKey{}, "system:serviceaccount:"+namespace+":"+name)
}

// impersonator sends each request as the identity of its context. A request without one is not sent: it would have the agent's rights.
type impersonator struct{ next http.RoundTripper }

func (i *impersonator) RoundTrip(request *http.Request) (*http.Response, error) {
	user, ok := request.Context().Value(identityKey{}).(string)
	if !ok {
		return nil, errors.New("a request of a template has no identity")
	}
	request = request.Clone(request.Context())
	// The groups of a service account come with its name, if no others are said.
	request.Header.Del(transport.ImpersonateGroupHeader)
	request.Header.Set(transport.ImpersonateUserHeader, user)
	return i.next.RoundTrip(request)
}

// newImpersonating makes a client whose every call needs a context that as has made.
func newImpersonating(config *rest.Config, scheme *runtime.Scheme, mapper meta.RESTMapper) (client.Client, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 100, 200
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &impersonator{next: next} })
	impersonating, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("make the client of templates: %w", err)
	}
	return impersonating, nil
}
