package image

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strings"
	"time"
)

// File is one entry of an image: a file of this machine, a file with given content, a symbolic link or a directory.
// Exactly one of Source, Content and Link is set, or none for a directory. Owner and group are root: an image's user
// must not be able to change its own program.
type File struct {
	// Path in the image, absolute and clean.
	Path string
	// Mode holds the permission bits, with os.ModeSticky for a directory that everybody writes into.
	Mode os.FileMode
	// Source is the path of a regular file of this machine.
	Source string
	// Content of a small file; nil for none, empty but not nil for an empty file.
	Content []byte
	// Link is the target of a symbolic link.
	Link string
}

// withParents adds the directories that the files are in, and sorts everything by path.
func withParents(files []File) ([]File, error) {
	all := map[string]File{}
	for _, f := range files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" {
			return nil, fmt.Errorf("path %q in the image is not absolute and clean", f.Path)
		}
		if _, twice := all[f.Path]; twice {
			return nil, fmt.Errorf("path %q is in the image twice", f.Path)
		}
		all[f.Path] = f
	}
	for _, f := range files {
		for dir := path.Dir(f.Path); dir != "/"; dir = path.Dir(dir) {
			if _, known := all[dir]; !known {
				all[dir] = File{Path: dir, Mode: 0o755}
			}
		}
	}
	sorted := make([]File, 0, len(all))
	for _, f := range all {
		sorted = append(sorted, f)
	}
	// A directory sorts before what is in it.
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Path < sorted[j].Path })
	return sorted, nil
}

// writeTar writes the entries in their order.
func writeTar(w io.Writer, files []File) error {
	archive := tar.NewWriter(w)
	for _, f := range files {
		if err := f.writeTo(archive); err != nil {
			return fmt.Errorf("add %q: %w", f.Path, err)
		}
	}
	return archive.Close()
}

func (f File) writeTo(archive *tar.Writer) error {
	header := &tar.Header{
		Name:    strings.TrimPrefix(f.Path, "/"),
		Mode:    int64(f.Mode.Perm()),
		ModTime: time.Unix(0, 0),
		Format:  tar.FormatPAX,
	}
	if f.Mode&os.ModeSticky != 0 {
		header.Mode |= 0o1000
	}
	switch {
	case f.Source != "":
		return f.copySource(archive, header)
	case f.Content != nil:
		header.Typeflag, header.Size = tar.TypeReg, int64(len(f.Content))
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := archive.Write(f.Content)
		return err
	case f.Link != "":
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, f.Link, 0o777
	default:
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
	}
	return archive.WriteHeader(header)
}

func (f File) copySource(archive *tar.Writer, header *tar.Header) error {
	source, err := os.Open(f.Source)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%q is not a regular file", f.Source)
	}
	header.Typeflag, header.Size = tar.TypeReg, info.Size()
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if _, err := io.Copy(archive, source); err != nil {
		return fmt.Errorf("copy %q: %w", f.Source, err)
	}
	return nil
}
