package image

import (
	"fmt"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// nonRoot is the user and group of every image, by number: the kubelet cannot check a name against runAsNonRoot.
const nonRoot = "65532"

// Spec describes an image.
type Spec struct {
	// Reference is the full name with its tag, such as matryoshka.dev/pause:v0.1.0.
	Reference string
	// Architecture as Go names it, such as amd64.
	Architecture string
	// Files of the image beside /etc/passwd, /etc/group and /tmp, which every image has.
	Files []File
	// Entrypoint is the program that runs. Cmd are its default arguments.
	Entrypoint, Cmd []string
}

// Image is a built image and its name.
type Image struct {
	Reference string
	v1.Image
}

// Build makes an image of one layer.
func Build(spec Spec) (Image, error) {
	files, err := withParents(append(accounts(), spec.Files...))
	if err != nil {
		return Image{}, fmt.Errorf("build image %q: %w", spec.Reference, err)
	}
	content, err := newLayer(files)
	if err != nil {
		return Image{}, fmt.Errorf("build image %q: %w", spec.Reference, err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	config := &v1.ConfigFile{
		Architecture: spec.Architecture,
		OS:           "linux",
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: spec.Entrypoint,
			Cmd:        spec.Cmd,
			User:       nonRoot + ":" + nonRoot,
			WorkingDir: "/",
			Env:        []string{"PATH=/usr/local/bin:/usr/bin:/bin"},
		},
	}
	configured, err := mutate.ConfigFile(base, config)
	if err != nil {
		return Image{}, fmt.Errorf("configure image %q: %w", spec.Reference, err)
	}
	built, err := mutate.Append(configured, mutate.Addendum{
		Layer:     content,
		MediaType: types.OCIUncompressedLayer,
		History:   v1.History{CreatedBy: "matryoshka", Comment: strings.Join(spec.Entrypoint, " ")},
	})
	if err != nil {
		return Image{}, fmt.Errorf("add the layer of image %q: %w", spec.Reference, err)
	}
	return Image{Reference: spec.Reference, Image: built}, nil
}

// accounts are the files that programs expect of any Linux system.
func accounts() []File {
	passwd := "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:" + nonRoot + ":" + nonRoot + ":nonroot:/tmp:/sbin/nologin\n"
	group := "root:x:0:\nnonroot:x:" + nonRoot + ":\n"
	return []File{
		{Path: "/etc/passwd", Mode: 0o644, Content: []byte(passwd)},
		{Path: "/etc/group", Mode: 0o644, Content: []byte(group)},
		{Path: "/tmp", Mode: 0o777 | os.ModeSticky},
	}
}
