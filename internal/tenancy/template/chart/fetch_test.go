package chart

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	ociregistry "github.com/google/go-containerregistry/pkg/v1/types"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/charttest"
)

func at(url, version string) *tenancyv1alpha1.HelmChart {
	return &tenancyv1alpha1.HelmChart{Repository: &tenancyv1alpha1.HelmRepository{URL: url, Name: "web", Version: version}}
}

// repository serves an HTTP repository with whatever can be wrong with one.
func repository(t *testing.T, archive []byte) (address string, requests *atomic.Int32) {
	t.Helper()
	requests = &atomic.Int32{}
	sum := sha256.Sum256(archive)
	index := fmt.Sprintf(`apiVersion: v1
entries:
  web:
  - {version: 1.2.3, urls: [files/web-1.2.3.tgz], digest: %s}
  - {version: 1.2.4, urls: [files/web-1.2.3.tgz], digest: %s}
  - {version: 1.2.5, urls: ["file:///etc/passwd"]}
  - {version: 1.2.6, urls: [redirect]}
  - {version: 1.2.7, urls: [loop]}
  - {version: 1.2.8, urls: [large]}
  - {version: 1.2.9, urls: [secret]}
`, hex.EncodeToString(sum[:]), strings.Repeat("0", 64))
	mux := http.NewServeMux()
	mux.HandleFunc("/charts/index.yaml", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, index) })
	mux.HandleFunc("/charts/files/web-1.2.3.tgz", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := w.Write(archive); err != nil {
			log.Print(err)
		}
	})
	mux.HandleFunc("/charts/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/charts/files/web-1.2.3.tgz", http.StatusFound)
	})
	mux.HandleFunc("/charts/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/charts/loop", http.StatusFound) })
	mux.HandleFunc("/charts/large", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := io.Copy(w, io.LimitReader(zeros{}, maxArchive+1)); err != nil {
			log.Print(err)
		}
	})
	mux.HandleFunc("/charts/secret", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "a secret", http.StatusForbidden) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestFetchFromHTTP(t *testing.T) {
	t.Parallel()
	archive := charttest.Pack(t, map[string]string{"templates/a.yaml": configMap})
	address, requests := repository(t, archive)
	tests := map[string]struct {
		url, version string
		problem      string
	}{
		"chart":                  {url: "/charts", version: "1.2.3"},
		"with a slash and a v":   {url: "/charts/", version: "v1.2.3"},
		"archive":                {url: "/charts/files/web-1.2.3.tgz", version: "1.2.3"},
		"redirected":             {url: "/charts", version: "1.2.6"},
		"no such version":        {url: "/charts", version: "9.9.9", problem: "no such chart in this version"},
		"no repository":          {url: "/nothing", version: "1.2.3", problem: "answered 404"},
		"another digest":         {url: "/charts", version: "1.2.4", problem: "has the digest of"},
		"a file":                 {url: "/charts", version: "1.2.5", problem: "none of http or https"},
		"redirects without end":  {url: "/charts", version: "1.2.7", problem: "redirects too often"},
		"too large":              {url: "/charts", version: "1.2.8", problem: "has more than"},
		"answers are not shown":  {url: "/charts", version: "1.2.9", problem: "secret answered 403"},
		"the index is a tarball": {url: "/charts/files/web-1.2.3.tgz/", version: "1.2.3", problem: "answered 404"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := NewFetcher(nil).Fetch(t.Context(), at(address+test.url, test.version))
			mustContain(t, err, test.problem)
			if err == nil && !bytes.Equal(got, archive) {
				t.Errorf("got %d bytes, want %d", len(got), len(archive))
			}
			if err != nil && strings.Contains(err.Error(), "a secret") {
				t.Errorf("the error shows what the server answered: %v", err)
			}
		})
	}
	t.Run("kept", func(t *testing.T) {
		fetcher := NewFetcher(nil)
		for range 3 {
			if _, err := fetcher.Fetch(t.Context(), at(address+"/charts", "1.2.3")); err != nil {
				t.Fatal(err)
			}
		}
		before := requests.Load()
		if _, err := fetcher.Fetch(t.Context(), at(address+"/charts", "1.2.3")); err != nil || requests.Load() != before {
			t.Errorf("a chart that was fetched is fetched again (%v)", err)
		}
	})
}

func TestFetchFromOCI(t *testing.T) {
	t.Parallel()
	archive := charttest.Pack(t, map[string]string{"templates/a.yaml": configMap})
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	push := func(tag string, mediaType ociregistry.MediaType, content []byte) {
		image, err := mutate.AppendLayers(empty.Image, static.NewLayer(content, mediaType))
		if err != nil {
			t.Fatal(err)
		}
		reference, err := name.NewTag(host + "/charts/web:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(reference, image); err != nil {
			t.Fatal(err)
		}
	}
	push("1.2.3_build", layerMediaType, archive)
	push("1.2.4", ociregistry.DockerLayer, archive)
	push("1.2.5", layerMediaType, make([]byte, maxArchive+1))
	for version, problem := range map[string]string{
		"1.2.3+build": "", "1.2.4": "no Helm chart under this name", "1.2.5": "has more than", "9.9.9": "answered 404",
	} {
		got, err := NewFetcher(nil).Fetch(t.Context(), at("oci://"+host+"/charts", version))
		mustContain(t, err, problem)
		if err == nil && !bytes.Equal(got, archive) {
			t.Errorf("got %d bytes, want %d", len(got), len(archive))
		}
	}
}

func TestInline(t *testing.T) {
	t.Parallel()
	if got, err := NewFetcher(nil).Fetch(t.Context(), &tenancyv1alpha1.HelmChart{Inline: []byte("x")}); err != nil || string(got) != "x" {
		t.Errorf("got %q and %v", got, err)
	}
	_, err := NewFetcher(nil).Fetch(t.Context(), &tenancyv1alpha1.HelmChart{Inline: make([]byte, maxInline+1)})
	mustContain(t, err, "are allowed")
}
