package controllers

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	controllersmetrics "k8s.io/component-base/metrics/prometheus/controllers"
	"k8s.io/controller-manager/pkg/clientbuilder"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	kcmconfig "k8s.io/kubernetes/pkg/controller/apis/config"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
)

const (
	component = "kube-controller-manager"
	// How long the controllers have to end after their context.
	shutdownTimeout = 10 * time.Second
	// Informers need no resync to be right; upstream's 12 hours is kept as a net.
	resyncPeriod = 12 * time.Hour
)

// ErrStopTimeout is returned by Run when a controller did not end in time.
var ErrStopTimeout = errors.New("controllers did not stop in time")

// Config of a set of controllers.
type Config struct {
	// Client of the tenant's API server, with all rights.
	Client *rest.Config
	// PKIDirectory holds the files named in package config.
	PKIDirectory string
	// Started is called when the informers have synced and all controllers run. It may be nil.
	Started func()
}

// Run builds and runs the controllers until the context ends. The API server must answer already.
func Run(ctx context.Context, c Config) error {
	set, err := build(ctx, c)
	if err != nil {
		return err
	}
	set.context.InformerFactory.Start(ctx.Done())
	defer set.context.InformerFactory.Shutdown()
	set.context.ObjectOrMetadataInformerFactory.Start(ctx.Done())
	close(set.context.InformersStarted)
	if c.Started != nil {
		go func() {
			for _, synced := range set.context.InformerFactory.WaitForCacheSync(ctx.Done()) {
				if !synced {
					return
				}
			}
			c.Started()
		}()
	}
	if !app.RunControllers(ctx, set.context, set.controllers, 0, shutdownTimeout) {
		return ErrStopTimeout
	}
	return nil
}

type set struct {
	context     app.ControllerContext
	controllers []app.Controller
}

func build(ctx context.Context, c Config) (*set, error) {
	controllerContext, err := newContext(ctx, c)
	if err != nil {
		return nil, err
	}
	tokens, err := newTokenController(ctx, controllerContext)
	if err != nil {
		return nil, err
	}
	policies, err := newPolicyStatus(controllerContext)
	if err != nil {
		return nil, err
	}
	others, err := app.BuildControllers(ctx, controllerContext, selected(), nil, noHealth{})
	if err != nil {
		return nil, fmt.Errorf("build the controllers: %w", err)
	}
	return &set{context: controllerContext, controllers: append([]app.Controller{tokens, policies}, others...)}, nil
}

// noHealth drops upstream's per-controller checks: all of them always pass, and what readiness means for us is that
// the caches have synced.
type noHealth struct{}

func (noHealth) AddHealthChecker(...healthz.HealthChecker) {}

func newContext(ctx context.Context, c Config) (app.ControllerContext, error) {
	componentConfig, err := newComponentConfig(c.PKIDirectory)
	if err != nil {
		return app.ControllerContext{}, err
	}
	builder := clientbuilder.SimpleControllerClientBuilder{ClientConfig: c.Client}
	client, err := builder.Client("shared-informers")
	if err != nil {
		return app.ControllerContext{}, fmt.Errorf("create the informers' client: %w", err)
	}
	metadataConfig, err := builder.Config("metadata-informers")
	if err != nil {
		return app.ControllerContext{}, fmt.Errorf("configure the metadata client: %w", err)
	}
	metadataClient, err := metadata.NewForConfig(metadataConfig)
	if err != nil {
		return app.ControllerContext{}, fmt.Errorf("create the metadata client: %w", err)
	}
	mapper, err := newMapper(ctx, builder)
	if err != nil {
		return app.ControllerContext{}, err
	}
	// No informer name: names are process-global, and a second control plane could not register its own.
	shared := informers.NewSharedInformerFactoryWithOptions(client, resyncPeriod, informers.WithTransform(trimManagedFields))
	metadataInformers := metadatainformer.NewSharedInformerFactoryWithOptions(metadataClient, resyncPeriod,
		metadatainformer.WithTransform(trimManagedFields))
	result := app.ControllerContext{
		ClientBuilder:                   builder,
		InformerFactory:                 shared,
		ObjectOrMetadataInformerFactory: informerfactory.NewInformerFactory(shared, metadataInformers),
		ComponentConfig:                 componentConfig,
		RESTMapper:                      mapper,
		InformersStarted:                make(chan struct{}),
		ResyncPeriod:                    func() time.Duration { return resyncPeriod },
		ControllerManagerMetrics:        controllersmetrics.NewControllerManagerMetrics(component),
	}
	result.GraphBuilder = newGraphBuilder(ctx, metadataClient, result)
	return result, nil
}

// newComponentConfig is upstream's default configuration with the tenant's keys.
func newComponentConfig(pki string) (kcmconfig.KubeControllerManagerConfiguration, error) {
	c, err := options.NewDefaultComponentConfig()
	if err != nil {
		return c, fmt.Errorf("default the controllers' configuration: %w", err)
	}
	c.Generic.Controllers = []string{"*"}
	// Upstream spreads the start of its controllers over time for the sake of a remote API server; ours is in process.
	c.Generic.ControllerStartInterval.Duration = 0
	c.SAController.ServiceAccountKeyFile = filepath.Join(pki, config.ServiceAccount)
	c.SAController.RootCAFile = filepath.Join(pki, config.ServingCA)
	c.CSRSigningController.ClusterSigningCertFile = filepath.Join(pki, config.ClientCA)
	c.CSRSigningController.ClusterSigningKeyFile = filepath.Join(pki, config.ClientCAKey)
	return c, nil
}

// trimManagedFields saves memory: no controller reads them.
var trimManagedFields cache.TransformFunc = func(obj any) (any, error) {
	if accessor, err := meta.Accessor(obj); err == nil && accessor.GetManagedFields() != nil {
		accessor.SetManagedFields(nil)
	}
	return obj, nil
}
