package chart

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"sigs.k8s.io/yaml"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

const (
	fetchTimeout = 30 * time.Second
	maxRedirects = 5
	// maxArchive is how large a chart in a repository may be, packed.
	maxArchive = 4 << 20
	// maxIndex is how large the index of an HTTP repository may be.
	maxIndex = 8 << 20
	// maxKept is how many bytes of charts are kept.
	maxKept = 32 << 20
	// maxInline is how large a chart in a template may be, packed.
	maxInline = 512 << 10

	layerMediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// Fetcher fetches charts, one at a time, and keeps what it has fetched.
type Fetcher struct {
	transport http.RoundTripper
	client    *http.Client
	// turn is held while something is fetched or looked up in kept.
	turn  chan struct{}
	kept  map[tenancyv1alpha1.HelmRepository][]byte
	order []tenancyv1alpha1.HelmRepository
	bytes int
}

// NewFetcher makes a fetcher that connects by the transport. Nil means one with bounds, by the proxy that the environment names.
func NewFetcher(roundTripper http.RoundTripper) *Fetcher {
	if roundTripper == nil {
		roundTripper = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 15 * time.Second, MaxResponseHeaderBytes: 64 << 10,
			MaxConnsPerHost: 4, IdleConnTimeout: 10 * time.Second,
		}
	}
	return &Fetcher{
		transport: roundTripper,
		client:    &http.Client{Transport: roundTripper, CheckRedirect: checkRedirect},
		turn:      make(chan struct{}, 1),
		kept:      map[tenancyv1alpha1.HelmRepository][]byte{},
	}
}

// checkRedirect follows a repository to where it keeps its files, but never from a protected connection to an open one.
func checkRedirect(request *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return errors.New("the repository redirects too often")
	}
	if request.URL.Scheme != "https" && via[len(via)-1].URL.Scheme == "https" {
		return errors.New("the repository redirects from https to " + request.URL.Scheme)
	}
	return nil
}

// Fetch returns the archive of a chart.
func (f *Fetcher) Fetch(ctx context.Context, chart *tenancyv1alpha1.HelmChart) ([]byte, error) {
	if chart.Repository == nil {
		if len(chart.Inline) > maxInline {
			return nil, fmt.Errorf("the inline chart has %d bytes, and %d are allowed", len(chart.Inline), maxInline)
		}
		return chart.Inline, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return nil, errors.New("other charts are being fetched; this one comes later")
	}
	repository := *chart.Repository
	if archive, ok := f.kept[repository]; ok {
		return archive, nil
	}
	archive, err := f.fetch(ctx, &repository)
	if err != nil {
		return nil, fmt.Errorf("fetch chart %s %s from %s: %w", repository.Name, repository.Version, repository.URL, err)
	}
	f.keep(repository, archive)
	return archive, nil
}

func (f *Fetcher) keep(repository tenancyv1alpha1.HelmRepository, archive []byte) {
	f.kept[repository] = archive
	f.order = append(f.order, repository)
	for f.bytes += len(archive); f.bytes > maxKept; f.order = f.order[1:] {
		f.bytes -= len(f.kept[f.order[0]])
		delete(f.kept, f.order[0])
	}
}

func (f *Fetcher) fetch(ctx context.Context, repository *tenancyv1alpha1.HelmRepository) ([]byte, error) {
	switch {
	case strings.HasPrefix(repository.URL, "oci://"):
		return f.fetchOCI(ctx, repository)
	case strings.HasSuffix(repository.URL, ".tgz"):
		return f.get(ctx, repository.URL, maxArchive)
	}
	return f.fetchHTTP(ctx, repository)
}

// index is what is read of the index of an HTTP repository.
type index struct {
	Entries map[string][]entry `json:"entries"`
}

type entry struct {
	Version string   `json:"version"`
	URLs    []string `json:"urls"`
	Digest  string   `json:"digest"`
}

func (f *Fetcher) fetchHTTP(ctx context.Context, repository *tenancyv1alpha1.HelmRepository) ([]byte, error) {
	base := strings.TrimSuffix(repository.URL, "/") + "/"
	data, err := f.get(ctx, base+"index.yaml", maxIndex)
	if err != nil {
		return nil, err
	}
	var read index
	if err := yaml.Unmarshal(data, &read); err != nil {
		return nil, errors.New("its index.yaml cannot be read") // the error would show what somebody else's server has said
	}
	for _, candidate := range read.Entries[repository.Name] {
		if strings.TrimPrefix(candidate.Version, "v") == strings.TrimPrefix(repository.Version, "v") && len(candidate.URLs) > 0 {
			return f.fetchEntry(ctx, base, &candidate)
		}
	}
	return nil, errors.New("the repository has no such chart in this version")
}

func (f *Fetcher) fetchEntry(ctx context.Context, base string, chart *entry) ([]byte, error) {
	root, err := url.Parse(base)
	if err != nil {
		return nil, errors.New("the address of the repository cannot be read")
	}
	target, err := root.Parse(chart.URLs[0])
	if err != nil || (target.Scheme != "http" && target.Scheme != "https") {
		return nil, errors.New("its index names an address for the chart that is none of http or https")
	}
	if root.Scheme == "https" && target.Scheme != "https" {
		return nil, errors.New("its index leads from https to http")
	}
	archive, err := f.get(ctx, target.String(), maxArchive)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(archive)
	if digest := strings.TrimPrefix(chart.Digest, "sha256:"); digest != "" && digest != hex.EncodeToString(sum[:]) {
		return nil, errors.New("the chart is not the one that the index of the repository has the digest of")
	}
	return archive, nil
}

// get reads a file. Errors show nothing of what a server answered but the status: it may be one that is not meant to be seen.
func (f *Fetcher) get(ctx context.Context, target string, limit int64) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, errors.New("the address cannot be read")
	}
	request.Header.Set("User-Agent", "matryoshka")
	response, err := f.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", path.Base(target), response.StatusCode)
	}
	return readAll(response.Body, limit)
}

func readAll(from io.Reader, limit int64) ([]byte, error) {
	var data bytes.Buffer
	n, err := io.Copy(&data, io.LimitReader(from, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	return data.Bytes(), nil
}

// fetchOCI takes the one layer of the media type of charts. Registries on loopback and private addresses are asked by plain HTTP.
func (f *Fetcher) fetchOCI(ctx context.Context, repository *tenancyv1alpha1.HelmRepository) ([]byte, error) {
	// A tag cannot have a "+", for which Helm writes "_".
	tag := strings.ReplaceAll(repository.Version, "+", "_")
	address := strings.TrimSuffix(strings.TrimPrefix(repository.URL, "oci://"), "/") + "/" + repository.Name
	reference, err := name.NewTag(address+":"+tag, name.StrictValidation)
	if err != nil {
		return nil, errors.New("the address is none of an OCI repository")
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(f.transport), remote.WithUserAgent("matryoshka")}
	image, err := remote.Image(reference, options...)
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", withoutBody(err))
	}
	manifest, err := image.Manifest()
	if err != nil {
		return nil, errors.New("the manifest cannot be read")
	}
	for i := range manifest.Layers {
		if manifest.Layers[i].MediaType != layerMediaType {
			continue
		}
		if manifest.Layers[i].Size > maxArchive {
			return nil, fmt.Errorf("it has more than %d bytes", maxArchive)
		}
		return readLayer(reference.Context().Digest(manifest.Layers[i].Digest.String()), options)
	}
	return nil, errors.New("there is no Helm chart under this name")
}

func readLayer(digest name.Digest, options []remote.Option) ([]byte, error) {
	layer, err := remote.Layer(digest, options...)
	if err != nil {
		return nil, fmt.Errorf("find the chart: %w", withoutBody(err))
	}
	// What is read is compared with the digest.
	content, err := layer.Compressed()
	if err != nil {
		return nil, fmt.Errorf("read the chart: %w", withoutBody(err))
	}
	defer content.Close()
	return readAll(content, maxArchive)
}

// withoutBody leaves out what a server has answered.
func withoutBody(err error) error {
	if answer, ok := errors.AsType[*transport.Error](err); ok {
		return fmt.Errorf("the registry answered %d", answer.StatusCode)
	}
	return err
}
