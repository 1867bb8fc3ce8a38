// Package sharedclient lets all the resource stores of an API server use one connection to the datastore.
//
// Upstream opens a client for each of about 65 resources; in one process with its datastore, that is 65 connections
// and a good thousand goroutines for nothing. This package repeats the two short functions of upstream that build a
// resource's store (newETCD3Storage and StorageWithCacher) around a client that is given. Invariants: each resource
// keeps a watch stream of its own, because progress is reported per stream; the client is closed by its owner, after
// the API server has ended.
package sharedclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
	"k8s.io/client-go/tools/cache"
)

const (
	dialTimeout      = 20 * time.Second
	keepaliveTime    = 30 * time.Second
	keepaliveTimeout = 10 * time.Second
)

// Client is the one connection of an API server to its datastore.
type Client struct {
	etcd       *clientv3.Client
	kv         clientv3.KV
	compaction compaction

	stop    context.CancelFunc
	running sync.WaitGroup
}

// New connects to the endpoint.
func New(endpoint string) (*Client, error) { return newClient(endpoint, compactionInterval) }

func newClient(endpoint string, interval time.Duration) (*Client, error) {
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{endpoint},
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    keepaliveTime,
		DialKeepAliveTimeout: keepaliveTimeout,
		DialOptions:          []grpc.DialOption{grpc.WithBlock()}, //nolint:staticcheck // as upstream: fail at start
		Logger:               zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the datastore: %w", err)
	}
	// Upstream asks this for each resource's client; the answer is process-wide.
	feature.DefaultFeatureSupportChecker.CheckClient(etcd.Ctx(), etcd, storage.RequestWatchProgress)
	ctx, stop := context.WithCancel(context.Background())
	client := &Client{etcd: etcd, kv: etcd3.NewETCDLatencyTracker(etcd.KV), stop: stop}
	client.running.Go(func() { client.compaction.follow(ctx, etcd, interval) })
	return client, nil
}

// Close ends the connection.
func (c *Client) Close() error {
	c.stop()
	c.running.Wait()
	if err := c.etcd.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close the datastore's client: %w", err)
	}
	return nil
}

// Options replaces how a getter's resources are stored. uncached tells which have no watch cache.
func (c *Client) Options(upstream generic.RESTOptionsGetter, uncached func(schema.GroupResource) bool) generic.RESTOptionsGetter {
	return &options{upstream: upstream, client: c, uncached: uncached}
}

type options struct {
	upstream generic.RESTOptionsGetter
	client   *Client
	uncached func(schema.GroupResource) bool
}

func (o *options) GetRESTOptions(resource schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	result, err := o.upstream.GetRESTOptions(resource, example)
	if err != nil {
		return result, err
	}
	result.Decorator = o.client.cachedStorage
	if o.uncached(resource) {
		result.Decorator = o.client.plainStorage
	}
	return result, nil
}

// plainStorage has the signature of generic.StorageDecorator.
func (c *Client) plainStorage(config *storagebackend.ConfigForResource, resourcePrefix string, _ func(runtime.Object) (string, error),
	newObject, newList func() runtime.Object, _ storage.AttrFunc, _ storage.IndexerFuncs, _ *cache.Indexers,
) (storage.Interface, factory.DestroyFunc, error) {
	return c.rawStorage(config, resourcePrefix, newObject, newList)
}

// cachedStorage has the signature of generic.StorageDecorator.
func (c *Client) cachedStorage(config *storagebackend.ConfigForResource, resourcePrefix string, key func(runtime.Object) (string, error),
	newObject, newList func() runtime.Object, attributes storage.AttrFunc, triggers storage.IndexerFuncs, indexers *cache.Indexers,
) (storage.Interface, factory.DestroyFunc, error) {
	raw, destroyRaw, err := c.rawStorage(config, resourcePrefix, newObject, newList)
	if err != nil {
		return nil, nil, err
	}
	watchCache, err := cacher.NewCacherFromConfig(cacher.Config{
		Storage:             raw,
		Versioner:           storage.APIObjectVersioner{},
		GroupResource:       config.GroupResource,
		EventsHistoryWindow: config.EventsHistoryWindow,
		ResourcePrefix:      resourcePrefix,
		KeyFunc:             key,
		NewFunc:             newObject,
		NewListFunc:         newList,
		GetAttrsFunc:        attributes,
		IndexerFuncs:        triggers,
		Indexers:            indexers,
		Codec:               config.Codec,
	})
	if err != nil {
		destroyRaw()
		return nil, nil, fmt.Errorf("create the watch cache of %s: %w", config.GroupResource, err)
	}
	delegator := cacher.NewCacheDelegator(watchCache, raw)
	return delegator, sync.OnceFunc(func() {
		delegator.Stop()
		watchCache.Stop()
		destroyRaw()
	}), nil
}

func (c *Client) rawStorage(config *storagebackend.ConfigForResource, resourcePrefix string, newObject, newList func() runtime.Object) (storage.Interface, factory.DestroyFunc, error) {
	client, closeClient := c.forResource()
	transformer := config.Transformer
	if transformer == nil {
		transformer = identity.NewEncryptCheckTransformer()
	}
	versioner := storage.APIObjectVersioner{}
	store, err := etcd3.New(client, &c.compaction, config.Codec, newObject, newList, config.Prefix, resourcePrefix, config.GroupResource,
		transformer, config.LeaseManagerConfig, etcd3.NewDefaultDecoder(config.Codec, versioner), versioner)
	if err != nil {
		closeClient()
		return nil, nil, fmt.Errorf("create the store of %s: %w", config.GroupResource, err)
	}
	// Stores of subresources are shared and destroyed more than once.
	return store, sync.OnceFunc(func() {
		store.Close()
		closeClient()
	}), nil
}

// forResource returns a client that shares everything but the watch stream.
func (c *Client) forResource() (*kubernetes.Client, func()) {
	own := clientv3.NewCtxClient(c.etcd.Ctx())
	own.KV, own.Lease, own.Cluster, own.Maintenance = c.kv, c.etcd.Lease, c.etcd.Cluster, c.etcd.Maintenance
	own.Watcher = clientv3.NewWatcher(c.etcd)
	client := &kubernetes.Client{Client: own}
	client.Kubernetes = client
	return client, func() {
		// Its error is that of a stream that already ended.
		_ = own.Watcher.Close()
	}
}
