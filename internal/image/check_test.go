package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

func TestCheckArchive(t *testing.T) {
	oci := archiveOf(t, build(t, Spec{Reference: "a:1", Architecture: "amd64"}))
	var zipped bytes.Buffer
	writer := gzip.NewWriter(&zipped)
	if _, err := writer.Write(oci); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		content string
		isGood  bool
	}{
		"OCI layout":    {string(oci), true},
		"compressed":    {zipped.String(), true},
		"docker save":   {tarOf(t, "layer.tar", "./manifest.json"), true},
		"some other":    {tarOf(t, "README", "blobs/manifest.json"), false},
		"cut off":       {string(oci[:700]), false},
		"text":          {"hello\n", false},
		"empty":         {"", false},
		"broken zip":    {"\x1f\x8b nonsense", false},
		"zip of a text": {gzipped(t, "hello"), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "archive")
			writeFile(t, file, c.content, 0o600)
			if err := CheckArchive(file); (err == nil) != c.isGood {
				t.Errorf("error %v, want good=%t", err, c.isGood)
			}
		})
	}
	if err := CheckArchive(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent file: error %v", err)
	}
}

func tarOf(t *testing.T, names ...string) string {
	t.Helper()
	var content bytes.Buffer
	writer := tar.NewWriter(&content)
	for _, name := range names {
		if err := writer.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return content.String()
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var content bytes.Buffer
	writer := gzip.NewWriter(&content)
	if _, err := writer.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return content.String()
}
