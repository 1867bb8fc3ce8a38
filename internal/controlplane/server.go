package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	kerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	aggregatorapiserver "k8s.io/kube-aggregator/pkg/apiserver"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	netutils "k8s.io/utils/net"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/bootstrap"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/kubeletdialer"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/metricsapi"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/openapi"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/serviceaddress"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/sharedclient"
)

// server is the chain of upstream's API servers: aggregator, core, extensions.
type server struct {
	chain   *aggregatorapiserver.APIAggregator
	openAPI *common.OpenAPIV3Config
	serving chan struct{}
	// informers are the API server's own.
	informers informers.SharedInformerFactory
}

// parts are what an API server is given beside its configuration.
type parts struct {
	storeEndpoint string
	// client is the connection to the store.
	client *sharedclient.Client
	// runtimeDir is private to this control plane.
	runtimeDir string
	listener   net.Listener
	// addresses is nil without doors.
	addresses serviceaddress.Reserver
	// metrics is nil without doors.
	metrics metricsapi.Ask
	ready   *readiness
}

func newServer(ctx context.Context, c config.ControlPlane, p parts) (*server, error) {
	options, err := newOptions(c, p)
	if err != nil {
		return nil, err
	}
	completedOptions, err := options.Complete(ctx)
	if err != nil {
		return nil, fmt.Errorf("complete the API server's options: %w", err)
	}
	if errs := completedOptions.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("validate the API server's options: %w", kerrors.NewAggregate(errs))
	}
	serverConfig, err := app.NewConfig(completedOptions)
	if err != nil {
		return nil, fmt.Errorf("configure the API server: %w", err)
	}
	adjust(serverConfig, c)
	shareClient(serverConfig, p.client)
	if c.Doors != nil {
		dialer := &kubeletdialer.Dialer{
			Door:  kubeletDoor(c),
			Nodes: serverConfig.KubeAPIs.ControlPlane.VersionedInformers.Core().V1().Nodes().Lister(),
		}
		serverConfig.KubeAPIs.Extra.KubeletClientConfig.Lookup = dialer.Lookup
	}
	completed, err := serverConfig.Complete()
	if err != nil {
		return nil, fmt.Errorf("complete the API server: %w", err)
	}
	chain, err := app.CreateServerChain(completed)
	if err != nil {
		return nil, fmt.Errorf("create the API server: %w", err)
	}
	s := &server{
		chain: chain, openAPI: serverConfig.KubeAPIs.ControlPlane.Generic.OpenAPIV3Config, serving: make(chan struct{}),
		informers: serverConfig.KubeAPIs.ControlPlane.VersionedInformers,
	}
	if err := s.extendCore(serverConfig.KubeAPIs.ControlPlane.Generic.OpenAPIConfig, p.metrics); err != nil {
		return nil, err
	}
	return s, errors.Join(s.addChecks(p.ready), s.addHooks(c.ServiceRanges))
}

// adjust sets what no option of upstream's can.
func adjust(serverConfig *app.Config, c config.ControlPlane) {
	core := serverConfig.KubeAPIs
	// The address of default/kubernetes is the host's choice, not the first of the range.
	core.Extra.APIServerServiceIP = netutils.ParseIPSloppy(c.ServiceAddress)
	core.ControlPlane.Generic.DisabledPostStartHooks.Insert(disabledHooks...)
	// Of the three servers' configurations, which are copies, this is the one with all the built-in kinds.
	core.ControlPlane.Generic.SkipOpenAPIInstallation = true
	openapi.NameOperations(core.ControlPlane.Generic.OpenAPIConfig, core.ControlPlane.Generic.OpenAPIV3Config)
	extensions, aggregator := serverConfig.ApiExtensions.GenericConfig, serverConfig.Aggregator.GenericConfig
	extensions.OpenAPIConfig = openapi.NarrowV2(extensions.OpenAPIConfig, "apiextensions", "apimachinery")
	extensions.OpenAPIV3Config = openapi.NarrowV3(extensions.OpenAPIV3Config, "apiextensions", "apimachinery")
	aggregator.OpenAPIConfig = openapi.NarrowV2(aggregator.OpenAPIConfig, "kube-aggregator", "apimachinery")
	aggregator.OpenAPIV3Config = openapi.NarrowV3(aggregator.OpenAPIV3Config, "kube-aggregator", "apimachinery")
}

// shareClient makes the resources of all three servers use one connection.
func shareClient(serverConfig *app.Config, client *sharedclient.Client) {
	core, extensions := serverConfig.KubeAPIs.ControlPlane.Generic, serverConfig.ApiExtensions
	aggregator := serverConfig.Aggregator.GenericConfig
	core.RESTOptionsGetter = client.Options(core.RESTOptionsGetter, uncached)
	aggregator.RESTOptionsGetter = client.Options(aggregator.RESTOptionsGetter, uncached)
	extensions.GenericConfig.RESTOptionsGetter = client.Options(extensions.GenericConfig.RESTOptionsGetter, uncached)
	// Nobody knows how many custom resources there will be, nor who watches them.
	allCached := func(schema.GroupResource) bool { return false }
	extensions.ExtraConfig.CRDRESTOptionsGetter = client.Options(extensions.ExtraConfig.CRDRESTOptionsGetter, allCached)
}

// extendCore adds to the server of the built-in kinds: their documents in upstream's place, see package openapi, and
// metrics.k8s.io.
func (s *server) extendCore(v2 *common.Config, metrics metricsapi.Ask) error {
	core, ok := s.chain.GenericAPIServer.NextDelegate().(*genericapiserver.GenericAPIServer)
	if !ok {
		return fmt.Errorf("the aggregator delegates to %T instead of kube-apiserver", s.chain.GenericAPIServer.NextDelegate())
	}
	if metrics != nil {
		if err := metricsapi.Install(core, s.informers, metrics); err != nil {
			return err
		}
	}
	openapi.Install(core.Handler.GoRestfulContainer, core.Handler.NonGoRestfulMux, v2, s.openAPI)
	return nil
}

// disabledHooks either sleep before they work and end the process when they are late (their objects are written by
// package bootstrap), or keep a lease that only matters between several API servers of one cluster: one write every
// ten seconds that would never let an idle control plane be idle.
var disabledHooks = []string{
	"rbac/bootstrap-roles",
	"scheduling/bootstrap-system-priority-classes",
	"start-system-namespaces-controller",
	"start-kube-apiserver-identity-lease-controller",
	"start-kube-apiserver-identity-lease-garbage-collector",
	"peer-endpoint-reconciler-controller",
	// Its range would be the one of the flag; see rangeFlag.
	"start-kubernetes-service-cidr-controller",
	// Ends the process when the API server is stopped while it starts; see bootstrap.FlowControl.
	"priority-and-fairness-config-producer",
}

func (s *server) addChecks(r *readiness) error {
	for _, check := range r.checks() {
		if err := s.chain.GenericAPIServer.AddReadyzChecks(healthz.HealthChecker(check)); err != nil {
			return fmt.Errorf("add readiness check %q: %w", check.Name(), err)
		}
	}
	return nil
}

// addHooks adds what runs when the API answers. A hook that returns an error would end the process, so none does.
func (s *server) addHooks(ranges []string) error {
	client, err := kubernetes.NewForConfig(s.clientConfig())
	if err != nil {
		return fmt.Errorf("create the loopback client: %w", err)
	}
	hooks := map[string]func(context.Context){
		"matryoshka-serving": func(context.Context) { close(s.serving) },
		// A hook, because upstream makes default/kubernetes once all hooks are done, and needs the range for it.
		"matryoshka-service-ranges": func(ctx context.Context) {
			if err := bootstrap.EnsureServiceRanges(ctx, client, ranges); err != nil && ctx.Err() == nil {
				klog.ErrorS(err, "No service range")
			}
		},
	}
	for name, hook := range hooks {
		err := s.chain.GenericAPIServer.AddPostStartHook(name, func(ctx genericapiserver.PostStartHookContext) error {
			hook(ctx)
			return nil
		})
		if err != nil {
			return fmt.Errorf("add hook %q: %w", name, err)
		}
	}
	return nil
}

// run serves until the context ends and every request in flight is answered.
func (s *server) run(ctx context.Context) error {
	prepared, err := s.chain.PrepareRun()
	if err != nil {
		return fmt.Errorf("prepare the API server: %w", err)
	}
	// 13 MiB that only building needs; who builds later generates them anew.
	s.openAPI.Definitions = nil
	if err := prepared.Run(ctx); err != nil {
		return fmt.Errorf("run the API server: %w", err)
	}
	if ctx.Err() == nil {
		return errors.New("the API server ended by itself")
	}
	return nil
}

func (s *server) awaitServing(ctx context.Context, failed <-chan error) error {
	select {
	case <-s.serving:
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the API server: %w", ctx.Err())
	}
}

const (
	hooksInterval = 20 * time.Millisecond
	// hooksTimeout bounds how long a stop waits for the hooks of a start.
	hooksTimeout = 10 * time.Second
)

// awaitHooks waits for upstream's post-start hooks and tells whether they ended. A hook that is cut short by a stop
// ends the whole process (runPostStartHook calls klog.Fatal), so that a stop has to wait for them too.
func (s *server) awaitHooks(ctx context.Context, client kubernetes.Interface) bool {
	err := wait.PollUntilContextCancel(ctx, hooksInterval, true, func(ctx context.Context) (bool, error) {
		return client.Discovery().RESTClient().Get().AbsPath("/healthz").Do(ctx).Error() == nil, nil
	})
	return err == nil
}

// clientConfig is the loopback client without client-side limits: priority and fairness exempts it anyway.
func (s *server) clientConfig() *rest.Config {
	c := rest.CopyConfig(s.chain.GenericAPIServer.LoopbackClientConfig)
	c.QPS, c.Burst = -1, 0
	return c
}
