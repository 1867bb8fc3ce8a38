package embeddedhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/image"
	"github.com/matryoshka-dev/matryoshka/internal/version"
)

// digestLength is how much of an image's digest is in the tag that the chart gets.
const digestLength = 12

// productImages are the images of this build.
type productImages struct {
	all []image.Image
	// matrydTag is a tag of the image of matryd that changes with its content, so that an agent of an older build with
	// the same version is replaced.
	matrydTag string
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
	for _, built := range images {
		if built.Reference != image.Reference("matryd", version.Version) {
			continue
		}
		digest, err := built.Digest()
		if err != nil {
			return productImages{}, fmt.Errorf("read the digest of image %q: %w", built.Reference, err)
		}
		tag := version.Version + "-" + digest.Hex[:digestLength]
		again := image.Image{Reference: image.Reference("matryd", tag), Image: built.Image}
		return productImages{all: append(images, again), matrydTag: tag}, nil
	}
	return productImages{}, errors.New("the product has no image of matryd")
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
	archive, err := os.CreateTemp(dataDir, "images-*.tar")
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

// presentImages are the digests of the images that containerd has, by their names.
func presentImages(ctx context.Context, host control.Options) (map[string]string, error) {
	layout, err := control.NewLayout(host.DataDir)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, filepath.Join(host.ProgramsDir, "ctr"),
		"--address", layout.ContainerdSocket(), "--namespace", "k8s.io", "images", "list")
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

// values are what the chart has to know about the embedded host.
func (p productImages) values(frontDoorPort int) map[string]any {
	return map[string]any{
		"image": map[string]any{
			"repository": image.Repository + "/matryd",
			"tag":        p.matrydTag,
			"pullPolicy": "Never",
		},
		"frontDoor": map[string]any{"address": fmt.Sprintf("https://127.0.0.1:%d", frontDoorPort)},
	}
}
