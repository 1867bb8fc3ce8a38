package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// testdata reads a file of the folder testdata.
func testdata(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
