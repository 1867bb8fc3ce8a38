package embeddedhost

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/image"
	"github.com/matryoshka-dev/matryoshka/internal/version"
)

// digestLength is how much of an image's digest is in a tag.
const digestLength = 12

// productImages are the images of this build.
type productImages struct {
	all []image.Image
	// tags are tags of the images, by their short names, that change with the content, so that pods of an older build
	// with the same version are replaced.
	tags map[string]string
}

func (o *upOptions) buildImages(ctx context.Context) (productImages, error) {
	var built productImages
	err := o.report.Phase(ctx, "images are built", func(ctx context.Context, _ func(string)) (err error) {
		built, err = buildImages(ctx, o.binDir)
		return err
	})
	return built, err
}

func buildImages(ctx context.Context, binDir string) (productImages, error) {
	images, err := image.Product(ctx, image.ProgramsIn(binDir), version.Version)
	if err != nil {
		return productImages{}, err
	}
	product := productImages{all: images, tags: map[string]string{}}
	for _, name := range []string{"matryd", "demo"} {
		again, tag, err := retag(images, name)
		if err != nil {
			return productImages{}, err
		}
		product.all, product.tags[name] = append(product.all, again), tag
	}
	return product, nil
}

// retag is the image of this name with a tag that changes with its content.
func retag(images []image.Image, name string) (image.Image, string, error) {
	for _, built := range images {
		if built.Reference != image.Reference(name, version.Version) {
			continue
		}
		digest, err := built.Digest()
		if err != nil {
			return image.Image{}, "", fmt.Errorf("read the digest of image %q: %w", built.Reference, err)
		}
		tag := version.Version + "-" + digest.Hex[:digestLength]
		return image.Image{Reference: image.Reference(name, tag), Image: built.Image}, tag, nil
	}
	return image.Image{}, "", fmt.Errorf("the product has no image %q", name)
}

// importImages imports the images that the host does not have yet.
func (o *upOptions) importImages(ctx context.Context, images productImages) error {
	return o.report.Phase(ctx, "images are imported", func(ctx context.Context, detail func(string)) error {
		present, err := presentImages(ctx, o.host)
		if err != nil {
			return err
		}
		var missing []image.Image
		for _, built := range images.all {
			digest, err := built.Digest()
			if err != nil {
				return fmt.Errorf("read the digest of image %q: %w", built.Reference, err)
			}
			if present[built.Reference] != digest.String() {
				missing = append(missing, built)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		detail(fmt.Sprintf("%d of %d", len(missing), len(images.all)))
		return importArchive(ctx, o.host.DataDir, missing)
	})
}

func importArchive(ctx context.Context, dataDir string, images []image.Image) (err error) {
	// The data folder has room for images; a folder for temporary files may be in memory.
	archive, err := os.CreateTemp(dataDir, control.ImageArchives)
	if err != nil {
		return fmt.Errorf("make an archive of the images: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(archive.Name())) }()
	writeErr := image.WriteArchive(archive, images...)
	if err := errors.Join(writeErr, archive.Close()); err != nil {
		return fmt.Errorf("write an archive of the images: %w", err)
	}
	_, err = control.LoadImage(ctx, dataDir, archive.Name())
	return err
}

// presentImages are the digests of the images that all nodes have, by their names.
func presentImages(ctx context.Context, host control.Options) (map[string]string, error) {
	layout, err := control.NewLayout(host.DataDir)
	if err != nil {
		return nil, err
	}
	var common map[string]string
	for _, node := range layout.Nodes(host.Nodes) {
		present, err := nodeImages(ctx, host, node)
		if err != nil {
			return nil, err
		}
		if common == nil {
			common = present
		}
		maps.DeleteFunc(common, func(name, digest string) bool { return present[name] != digest })
	}
	return common, nil
}

func nodeImages(ctx context.Context, host control.Options, node control.Layout) (map[string]string, error) {
	command := exec.CommandContext(ctx, filepath.Join(host.ProgramsDir, "ctr"),
		"--address", node.ContainerdSocket(), "--namespace", "k8s.io", "images", "list")
	output, err := command.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			return nil, fmt.Errorf("list the images of the host: %w: %s", err, strings.TrimSpace(string(failed.Stderr)))
		}
		return nil, fmt.Errorf("list the images of the host: %w", err)
	}
	return parseImages(string(output)), nil
}

// parseImages reads the table REF TYPE DIGEST ... that ctr prints.
func parseImages(table string) map[string]string {
	images := map[string]string{}
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) >= 3 && strings.HasPrefix(fields[2], "sha256:") {
			images[fields[0]] = fields[2]
		}
	}
	return images
}

// reference is the name of an image that changes with its content.
func (p productImages) reference(name string) string {
	return image.Reference(name, p.tags[name])
}

// values are what the chart has to know about the embedded host.
func (p productImages) values(frontDoorPort int) map[string]any {
	return map[string]any{
		"image": map[string]any{
			"repository": image.Repository + "/matryd",
			"tag":        p.tags["matryd"],
			"pullPolicy": "Never",
		},
		"frontDoor": map[string]any{"address": fmt.Sprintf("https://127.0.0.1:%d", frontDoorPort)},
	}
}
