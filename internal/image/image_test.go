package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

func TestArchiveIsReadBack(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	writeFile(t, program, "the program", 0o700)
	first := build(t, Spec{
		Reference: "matryoshka.dev/first:v1", Architecture: "amd64", Entrypoint: []string{"/usr/bin/first"}, Cmd: []string{"run"},
		Files: []File{
			{Path: "/usr/bin/first", Mode: 0o755, Source: program},
			{Path: "/usr/bin/link", Link: "first"},
			{Path: "/empty", Mode: 0o600, Content: []byte{}},
		},
	})
	second := build(t, Spec{Reference: "matryoshka.dev/second:v1", Architecture: "arm64"})

	index := readBack(t, archiveOf(t, first, second))
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range manifest.Manifests {
		names = append(names, m.Annotations[containerdName]+" "+m.Platform.String())
	}
	if diff := cmp.Diff([]string{"matryoshka.dev/first:v1 linux/amd64", "matryoshka.dev/second:v1 linux/arm64"}, names); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	checkLayers(t, image)
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" {
		t.Errorf("user %q, want a number that is not root", config.Config.User)
	}
	want := []string{
		"d 0755 empty-size etc", "- 0644 sized etc/group", "- 0644 sized etc/passwd", "- 0600 empty-size empty",
		"d 1777 empty-size tmp", "d 0755 empty-size usr", "d 0755 empty-size usr/bin", "- 0755 sized usr/bin/first", "l 0777 empty-size usr/bin/link -> first",
	}
	if diff := cmp.Diff(sorted(want), sorted(entries(t, image))); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestSameFilesGiveSameDigest(t *testing.T) {
	digests := map[string]bool{}
	archives := map[string]bool{}
	for range 2 {
		program := filepath.Join(t.TempDir(), "program")
		writeFile(t, program, "the program", 0o700)
		image := build(t, Spec{Reference: "a:1", Architecture: "amd64", Files: []File{{Path: "/p", Mode: 0o755, Source: program}}})
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[digest.String()] = true
		archives[string(archiveOf(t, image))] = true
	}
	if len(digests) != 1 || len(archives) != 1 {
		t.Errorf("%d digests and %d archives of the same content, want one of each", len(digests), len(archives))
	}
}

func TestChangedFileIsNoticed(t *testing.T) {
	for name, content := range map[string]string{"same size": "THE PROGRAM", "longer": "the program and more", "shorter": "the"} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "program")
			writeFile(t, program, "the program", 0o700)
			image := build(t, Spec{Reference: "a:1", Architecture: "amd64", Files: []File{{Path: "/p", Mode: 0o755, Source: program}}})
			writeFile(t, program, content, 0o700)
			if err := WriteArchive(io.Discard, image); err == nil {
				t.Error("the archive was written although its program had changed")
			}
		})
	}
}

func TestRefusesBadPaths(t *testing.T) {
	for name, files := range map[string][]File{
		"relative":  {{Path: "a", Content: []byte{}}},
		"not clean": {{Path: "/a/../b", Content: []byte{}}},
		"root":      {{Path: "/"}},
		"twice":     {{Path: "/a", Content: []byte{}}, {Path: "/a", Link: "b"}},
		"of base":   {{Path: "/etc/passwd", Content: []byte{}}},
		"no source": {{Path: "/a", Source: filepath.Join(t.TempDir(), "absent")}},
		"directory": {{Path: "/a", Source: t.TempDir()}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Build(Spec{Reference: "a:1", Architecture: "amd64", Files: files}); err == nil {
				t.Error("built, want an error")
			}
		})
	}
}

func TestProgramMustBeStatic(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	writeFile(t, source, "package main\n\nfunc main() {}\n", 0o600)
	static := filepath.Join(dir, "static")
	goBuild(t, source, static)
	if architecture, err := architectureOf(static); err != nil || architecture == "" {
		t.Errorf("static program: architecture %q, error %v", architecture, err)
	}
	// Every distribution links its shell dynamically.
	if _, err := architectureOf("/bin/sh"); err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("dynamic program: error %v, want one that names CGO_ENABLED=0", err)
	}
	writeFile(t, filepath.Join(dir, "script"), "#!/bin/sh\n", 0o700)
	if _, err := architectureOf(filepath.Join(dir, "script")); err == nil {
		t.Error("a script was taken for a program")
	}
	if _, err := architectureOf(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent program: error %v, want fs.ErrNotExist", err)
	}
}

func TestBusyBoxHasItsTools(t *testing.T) {
	if _, err := os.Stat("/bin/busybox"); err != nil {
		t.Skip("needs /bin/busybox of the package busybox-static")
	}
	image, err := BusyBox(t.Context(), "/bin/busybox", "v1")
	if err != nil {
		t.Fatal(err)
	}
	found := strings.Join(entries(t, image), "\n")
	for _, want := range []string{"- 0755 sized bin/busybox", "l 0777 empty-size bin/sh -> busybox", "l 0777 empty-size bin/wget -> busybox", "l 0777 empty-size bin/nslookup -> busybox"} {
		if !strings.Contains(found, want) {
			t.Errorf("no entry %q", want)
		}
	}
}

func octal(mode int64) string { return fmt.Sprintf("%04o", mode) }

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

func build(t *testing.T, spec Spec) Image {
	t.Helper()
	image, err := Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func archiveOf(t *testing.T, images ...Image) []byte {
	t.Helper()
	var archive bytes.Buffer
	if err := WriteArchive(&archive, images...); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// readBack unpacks an archive and opens it as the image layout that it must be.
func readBack(t *testing.T, archive []byte) v1.ImageIndex {
	t.Helper()
	dir := t.TempDir()
	for reader := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(dir, header.Name)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, target, string(content), 0o600)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// checkLayers reads every blob and compares it with what the manifest and the configuration say of it.
func checkLayers(t *testing.T, image v1.Image) {
	t.Helper()
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	for i, described := range manifest.Layers {
		layer, err := image.LayerByDigest(described.Digest)
		if err != nil {
			t.Fatal(err)
		}
		blob, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		hash, size, err := v1.SHA256(blob)
		if err != nil {
			t.Fatal(err)
		}
		if hash != described.Digest || size != described.Size || hash != config.RootFS.DiffIDs[i] {
			t.Errorf("layer %d is %s of %d bytes; manifest says %s of %d, configuration %s",
				i, hash, size, described.Digest, described.Size, config.RootFS.DiffIDs[i])
		}
	}
}

// entries lists what is in an image: type, mode, whether it has content, name and link target.
func entries(t *testing.T, image v1.Image) []string {
	t.Helper()
	content := mutate.Extract(image)
	defer content.Close()
	var list []string
	for reader := tar.NewReader(content); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		kind := map[byte]string{tar.TypeReg: "-", tar.TypeDir: "d", tar.TypeSymlink: "l"}[header.Typeflag]
		size := "sized"
		if header.Size == 0 {
			size = "empty-size"
		}
		line := kind + " " + octal(header.Mode) + " " + size + " " + header.Name
		if header.Linkname != "" {
			line += " -> " + header.Linkname
		}
		list = append(list, line)
	}
}

func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func goBuild(t *testing.T, source, target string) {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", target, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
}
