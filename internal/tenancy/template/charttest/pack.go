// Package charttest makes Helm charts for tests. It reads none.
package charttest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"maps"
	"slices"
	"testing"
)

// ChartFile is the Chart.yaml of a chart that brings none of its own.
const ChartFile = "apiVersion: v2\nname: web\nversion: 1.2.3\n"

// Pack makes the archive of a chart from files below its folder.
func Pack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	files = maps.Clone(files)
	if _, ok := files["Chart.yaml"]; !ok {
		files["Chart.yaml"] = ChartFile
	}
	var archive bytes.Buffer
	compressed := gzip.NewWriter(&archive)
	written := tar.NewWriter(compressed)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := written.WriteHeader(&tar.Header{Name: "chart/" + name, Mode: 0o600, Size: int64(len(files[name])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := written.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(written.Close(), compressed.Close()); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}
