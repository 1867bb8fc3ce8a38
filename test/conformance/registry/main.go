// Command registry serves the images of an archive by plain HTTP, for tests that insist on pulling one. Nothing can be pushed.
//
//	registry ARCHIVE.tar ADDRESS
package main

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: registry ARCHIVE.tar ADDRESS")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

func run(archive, address string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	images, err := read(file)
	if err != nil {
		return fmt.Errorf("read %q: %w", archive, err)
	}
	server := &http.Server{Addr: address, Handler: images.handler(), ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

// registry knows where in the archive the files of an OCI image layout are, and the digest of every image.
type registry struct {
	files   map[string]*io.SectionReader
	digests map[string]string
}

func read(archive *os.File) (*registry, error) {
	r := &registry{files: map[string]*io.SectionReader{}, digests: map[string]string{}}
	for entries := tar.NewReader(archive); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		start, err := archive.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		r.files[header.Name] = io.NewSectionReader(archive, start, header.Size)
	}
	content := r.files["index.json"]
	if content == nil {
		return nil, errors.New("it has no index.json: it is no OCI archive")
	}
	index, err := v1.ParseIndexManifest(content)
	if err != nil {
		return nil, err
	}
	for _, image := range index.Manifests {
		r.digests[image.Annotations["org.opencontainers.image.ref.name"]] = image.Digest.String()
	}
	return r, nil
}

func (r *registry) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v2/", r.serve)
	return mux
}

// serve answers /v2/REPOSITORY/manifests/TAG, and a digest in place of the tag or behind /blobs/. containerd names the registry that
// this one stands for.
func (r *registry) serve(w http.ResponseWriter, request *http.Request) {
	folder, digest := path.Split(strings.TrimPrefix(request.URL.Path, "/v2/"))
	contentType := "application/octet-stream"
	if repository, ok := strings.CutSuffix(folder, "/manifests/"); ok {
		contentType = string(types.OCIManifestSchema1)
		host := cmp.Or(request.URL.Query().Get("ns"), request.Host)
		digest = cmp.Or(r.digests[host+"/"+repository+":"+digest], digest)
	}
	content := r.files["blobs/"+strings.Replace(digest, ":", "/", 1)]
	if content == nil {
		http.NotFound(w, request)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Docker-Content-Digest", digest)
	http.ServeContent(w, request, "", time.Time{}, io.NewSectionReader(content, 0, content.Size()))
}
