package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Annotations by which an importer finds an image's name in an archive.
const (
	containerdName = "io.containerd.image.name"
	ociRefName     = "org.opencontainers.image.ref.name"
)

// WriteArchive writes the images as one OCI archive: the tar form of an OCI image layout.
func WriteArchive(w io.Writer, images ...Image) error {
	archive := &archiveWriter{tar: tar.NewWriter(w), written: map[v1.Hash]bool{}}
	if err := archive.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, image := range images {
		descriptor, err := archive.image(image)
		if err != nil {
			return fmt.Errorf("write image %q: %w", image.Reference, err)
		}
		index.Manifests = append(index.Manifests, descriptor)
	}
	content, err := json.Marshal(index)
	if err != nil {
		return fmt.Errorf("encode the index: %w", err)
	}
	if err := archive.file("index.json", content); err != nil {
		return err
	}
	return archive.tar.Close()
}

type archiveWriter struct {
	tar     *tar.Writer
	written map[v1.Hash]bool
}

func (a *archiveWriter) image(image Image) (v1.Descriptor, error) {
	layers, err := image.Layers()
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, layer := range layers {
		if err := a.layer(layer); err != nil {
			return v1.Descriptor{}, err
		}
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return v1.Descriptor{}, err
	}
	if _, err := a.blob(config); err != nil {
		return v1.Descriptor{}, err
	}
	manifest, err := image.RawManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	hash, err := a.blob(manifest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	configFile, err := image.ConfigFile()
	if err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{
		MediaType:   types.OCIManifestSchema1,
		Digest:      hash,
		Size:        int64(len(manifest)),
		Platform:    &v1.Platform{OS: configFile.OS, Architecture: configFile.Architecture},
		Annotations: map[string]string{containerdName: image.Reference, ociRefName: image.Reference},
	}, nil
}

// layer copies a layer and checks what it copies: a program that is rebuilt meanwhile must not give a broken image.
func (a *archiveWriter) layer(layer v1.Layer) error {
	digest, err := layer.Digest()
	if err != nil || a.written[digest] {
		return err
	}
	size, err := layer.Size()
	if err != nil {
		return err
	}
	content, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	if err := a.header("blobs/sha256/"+digest.Hex, size); err != nil {
		return err
	}
	copied, n, err := v1.SHA256(io.TeeReader(content, a.tar))
	if err != nil {
		return fmt.Errorf("copy layer %s: %w", digest, err)
	}
	if copied != digest || n != size {
		return fmt.Errorf("the files of layer %s changed while the image was built; try again", digest)
	}
	a.written[digest] = true
	return nil
}

func (a *archiveWriter) blob(content []byte) (v1.Hash, error) {
	hash, _, err := v1.SHA256(bytes.NewReader(content))
	if err != nil || a.written[hash] {
		return hash, err
	}
	a.written[hash] = true
	return hash, a.file("blobs/sha256/"+hash.Hex, content)
}

func (a *archiveWriter) file(name string, content []byte) error {
	if err := a.header(name, int64(len(content))); err != nil {
		return err
	}
	_, err := a.tar.Write(content)
	return err
}

func (a *archiveWriter) header(name string, size int64) error {
	return a.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
	})
}
