// Package openapi serves the OpenAPI documents of the built-in kinds without keeping them.
//
// Upstream builds them at start and keeps them several times over: about half of an API server's live heap, for
// documents that few tenants ever ask for. Here a document is built by upstream's own code when it is asked for, kept
// for a minute, and forgotten. Custom resources and aggregated APIs are not touched by this: upstream merges them over
// what this package serves. Invariant: what is served is what upstream would serve; only the hash in the index of
// version 3 is of the build instead of the content, so that the index, which API servers poll, costs nothing.
package openapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/emicklei/go-restful/v3"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/component-base/version"
	"k8s.io/klog/v2"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/handler3"
)

const (
	v2Path = "/openapi/v2"
	v3Path = "/openapi/v3"
	// keep is how long a document stays after it was built: long enough for one kubectl command and its retries.
	keep = time.Minute
)

// Documents builds and serves the documents of one API server.
type Documents struct {
	container *restful.Container
	v2        *common.Config
	v3        *common.OpenAPIV3Config

	mu    sync.Mutex
	built map[string]http.Handler
}

// Install serves the documents of the container's web services on the mux. The API server itself must be configured
// with SkipOpenAPIInstallation.
func Install(container *restful.Container, m *mux.PathRecorderMux, v2 *common.Config, v3 *common.OpenAPIV3Config) {
	d := &Documents{container: container, v2: v2, v3: v3, built: map[string]http.Handler{}}
	m.Handle(v2Path, http.HandlerFunc(d.serveV2))
	m.Handle(v3Path, http.HandlerFunc(d.serveIndex))
	m.HandlePrefix(v3Path+"/", http.HandlerFunc(d.serveGroupVersion))
}

func (d *Documents) serveV2(w http.ResponseWriter, r *http.Request) {
	d.document(v2Path, func(m *mux.PathRecorderMux) {
		routes.OpenAPI{Config: d.v2}.InstallV2(d.container, m)
	}).ServeHTTP(w, r)
}

func (d *Documents) serveIndex(w http.ResponseWriter, _ *http.Request) {
	index := handler3.OpenAPIV3Discovery{Paths: map[string]handler3.OpenAPIV3DiscoveryGroupVersion{}}
	for _, service := range d.container.RegisteredWebServices() {
		path := strings.TrimPrefix(service.RootPath(), "/")
		index.Paths[path] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: relativeURL(path)}
	}
	data, err := json.Marshal(index)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(data); err != nil {
		klog.V(2).InfoS("Client left", "path", v3Path, "err", err)
	}
}

func (d *Documents) serveGroupVersion(w http.ResponseWriter, r *http.Request) {
	service := d.serviceOf(strings.TrimPrefix(r.URL.Path, v3Path+"/"))
	if service == nil {
		http.NotFound(w, r)
		return
	}
	// From the service, not from the request: what a redirect leads to is ours.
	path := strings.TrimPrefix(service.RootPath(), "/")
	asked := r.URL.Query().Get("hash")
	if asked != "" && asked != hash(path) {
		// A client's cached index of another build.
		http.Redirect(w, r, relativeURL(path), http.StatusMovedPermanently)
		return
	}
	if asked != "" {
		w.Header().Set("Cache-Control", "public, immutable")
		w.Header().Set("Expires", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
	}
	// Upstream would compare our hash with one of the content.
	plain := r.Clone(r.Context())
	plain.URL.RawQuery = ""
	d.document(r.URL.Path, func(m *mux.PathRecorderMux) {
		alone := restful.NewContainer()
		alone.Add(service)
		routes.OpenAPI{V3Config: d.v3}.InstallV3(alone, m)
	}).ServeHTTP(w, plain)
}

func (d *Documents) serviceOf(path string) *restful.WebService {
	for _, service := range d.container.RegisteredWebServices() {
		if service.RootPath() == "/"+path {
			return service
		}
	}
	return nil
}

// document returns the kept document or builds it. One is built at a time: building several at once would need the
// memory that this package saves.
func (d *Documents) document(path string, build func(*mux.PathRecorderMux)) http.Handler {
	d.mu.Lock()
	defer d.mu.Unlock()
	if kept, ok := d.built[path]; ok {
		return kept
	}
	m := mux.NewPathRecorderMux("openapi")
	build(m)
	d.built[path] = m
	time.AfterFunc(keep, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.built, path)
	})
	return m
}

func relativeURL(path string) string {
	return v3Path + "/" + path + "?hash=" + url.QueryEscape(hash(path))
}

// hash changes with the build, and a built-in kind changes only with the build.
func hash(path string) string {
	v := version.Get()
	sum := sha256.Sum256([]byte(v.GitVersion + "\x00" + v.GitCommit + "\x00" + path))
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}
