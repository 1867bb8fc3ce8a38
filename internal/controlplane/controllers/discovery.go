package controllers

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	cacheddiscovery "k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/restmapper"
	"k8s.io/controller-manager/pkg/clientbuilder"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
)

// How long a kind that was installed or removed can stay unnoticed by the mapper, as upstream.
const mapperReset = 30 * time.Second

func newMapper(ctx context.Context, builder clientbuilder.ControllerClientBuilder) (*restmapper.DeferredDiscoveryRESTMapper, error) {
	client, err := builder.DiscoveryClient("controller-discovery")
	if err != nil {
		return nil, fmt.Errorf("create the discovery client: %w", err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(cacheddiscovery.NewMemCacheClient(client))
	go wait.Until(mapper.Reset, mapperReset, ctx.Done())
	return mapper, nil
}

func newGraphBuilder(ctx context.Context, client metadata.Interface, c app.ControllerContext) *garbagecollector.GraphBuilder {
	ignored := map[schema.GroupResource]struct{}{}
	for _, r := range c.ComponentConfig.GarbageCollectorController.GCIgnoredResources {
		ignored[schema.GroupResource{Group: r.Group, Resource: r.Resource}] = struct{}{}
	}
	return garbagecollector.NewDependencyGraphBuilder(ctx, client, c.RESTMapper, ignored,
		c.ObjectOrMetadataInformerFactory, c.InformersStarted)
}
