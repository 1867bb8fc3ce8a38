// Command images makes an archive of Kubernetes' test images out of folders that hack/conformance-roots.sh has made, under
// the names and tags that the end-to-end suite of the same version asks for.
//
//	images FOLDER ARCHIVE.tar
package main

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/matryoshka-dev/matryoshka/internal/image"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: images FOLDER ARCHIVE.tar")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(folder, archive string) error {
	b := builder{folder: folder, layers: map[string]v1.Layer{}}
	var images []image.Image
	for _, s := range specs() {
		built, err := b.build(s)
		if err != nil {
			return fmt.Errorf("build image %q: %w", s.reference, err)
		}
		images = append(images, built)
	}
	file, err := os.Create(archive)
	if err != nil {
		return err
	}
	if err := image.WriteArchive(file, images...); err != nil {
		file.Close()
		return fmt.Errorf("write %q: %w", archive, err)
	}
	return file.Close()
}

// builder makes each layer once: most images share two.
type builder struct {
	folder string
	layers map[string]v1.Layer
}

func (b *builder) build(s spec) (image.Image, error) {
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	configured, err := mutate.ConfigFile(base, &v1.ConfigFile{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: s.entrypoint,
			Cmd:        s.arguments,
			User:       s.user,
			WorkingDir: "/",
			Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
	})
	if err != nil {
		return image.Image{}, err
	}
	for _, name := range s.layers {
		layer, err := b.layer(name)
		if err != nil {
			return image.Image{}, err
		}
		if configured, err = mutate.AppendLayers(configured, layer); err != nil {
			return image.Image{}, err
		}
	}
	return image.Image{Reference: s.reference, Image: configured}, nil
}

func (b *builder) layer(name string) (v1.Layer, error) {
	if known := b.layers[name]; known != nil {
		return known, nil
	}
	dir := filepath.Join(b.folder, name)
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("layer %q: %w", name, err)
	}
	made, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return archiveOf(dir), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("layer %q: %w", name, err)
	}
	b.layers[name] = made
	return made, nil
}

// archiveOf is the folder as a tar, with links, modes and owners as they are. The goroutine that writes it ends when the
// reader is read to its end or closed.
func archiveOf(dir string) io.ReadCloser {
	reader, writer := io.Pipe()
	go func() {
		archive := tar.NewWriter(writer)
		err := archive.AddFS(os.DirFS(dir))
		if err == nil {
			err = archive.Close()
		}
		writer.CloseWithError(err)
	}()
	return reader
}
