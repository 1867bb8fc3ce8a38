package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
)

// ErrNotArchive is returned by CheckArchive for a file that holds no images.
var ErrNotArchive = errors.New("it is no archive of images; make one with `docker save IMAGE -o FILE.tar`, or as the tar of an OCI layout")

// marks are the files that an archive of images has one of: an OCI layout the former, one of docker save the latter.
var marks = map[string]bool{"index.json": true, "manifest.json": true}

var gzipMagic = []byte{0x1f, 0x8b}

// CheckArchive looks whether a file is an archive that an import can read, without reading the images themselves.
func CheckArchive(file string) error {
	archive, err := os.Open(file)
	if err != nil {
		return err
	}
	defer archive.Close()
	buffered := bufio.NewReader(archive)
	var content io.Reader = archive
	// A short file has no magic bytes, and fails below.
	if magic, err := buffered.Peek(len(gzipMagic)); err == nil && bytes.Equal(magic, gzipMagic) {
		if content, err = gzip.NewReader(buffered); err != nil {
			return fmt.Errorf("read %q: %w", file, err)
		}
	} else if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read %q: %w", file, err)
	}
	// A tar reader seeks over content when it can, so that even a large archive is read quickly.
	for reader := tar.NewReader(content); ; {
		header, err := reader.Next()
		if err != nil {
			return fmt.Errorf("%q: %w", file, ErrNotArchive)
		}
		if marks[path.Clean(header.Name)] {
			return nil
		}
	}
}
