package image

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// Repository begins the names of the product's images. They are never pulled from there: an embedded host gets them
// imported, and an operator may mirror them to a registry of their own.
const Repository = "matryoshka.dev"

// Reference is the full name of one of the product's images: matryd, pause, demo or busybox.
func Reference(name, version string) string {
	return Repository + "/" + name + ":" + version
}

// Programs says where the static programs are that the images are made of.
type Programs struct {
	Matryd, Pause, Demo, BusyBox string
}

// ProgramsIn takes this module's programs from a folder, such as bin, and BusyBox from where Debian's
// busybox-static puts it.
func ProgramsIn(dir string) Programs {
	return Programs{
		Matryd:  filepath.Join(dir, "matryd"),
		Pause:   filepath.Join(dir, "pause"),
		Demo:    filepath.Join(dir, "demo"),
		BusyBox: "/bin/busybox",
	}
}

// Product builds all images of the product, with the same version.
func Product(ctx context.Context, programs Programs, version string) ([]Image, error) {
	images := make([]Image, 0, 4)
	for _, own := range []struct{ name, program string }{
		{"matryd", programs.Matryd}, {"pause", programs.Pause}, {"demo", programs.Demo},
	} {
		image, err := single(own.name, own.program, version)
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	busybox, err := BusyBox(ctx, programs.BusyBox, version)
	if err != nil {
		return nil, err
	}
	return append(images, busybox), nil
}

// Pause builds the image of the pod sandbox.
func Pause(program, version string) (Image, error) { return single("pause", program, version) }

// single makes an image of one program, found at /<name>.
func single(name, program, version string) (Image, error) {
	architecture, err := architectureOf(program)
	if err != nil {
		return Image{}, err
	}
	return Build(Spec{
		Reference:    Reference(name, version),
		Architecture: architecture,
		Files:        []File{{Path: "/" + name, Mode: 0o755, Source: program}},
		Entrypoint:   []string{"/" + name},
	})
}

// BusyBox builds an image with a shell and its tools. The program is run once to learn the names of its tools.
func BusyBox(ctx context.Context, program, version string) (Image, error) {
	architecture, err := architectureOf(program)
	if err != nil {
		return Image{}, fmt.Errorf("install the package busybox-static (`apt-get install busybox-static`): %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	list, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return Image{}, fmt.Errorf("ask %q for its tools: %w", program, err)
	}
	files := []File{{Path: "/bin/busybox", Mode: 0o755, Source: program}}
	for name := range bytes.FieldsSeq(list) {
		if string(name) != "busybox" {
			files = append(files, File{Path: "/bin/" + string(name), Link: "busybox"})
		}
	}
	return Build(Spec{
		Reference:    Reference("busybox", version),
		Architecture: architecture,
		Files:        files,
		Cmd:          []string{"/bin/sh"},
	})
}
