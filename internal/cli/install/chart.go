package install

import (
	"fmt"
	"io/fs"
	"strings"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"github.com/matryoshka-dev/matryoshka/charts"
	"github.com/matryoshka-dev/matryoshka/internal/version"
)

// BuiltIn is the product's chart, in the version of this build.
func BuiltIn() (*chart.Chart, error) {
	files, err := bufferedFiles(charts.Matryoshka, "matryoshka")
	if err != nil {
		return nil, fmt.Errorf("read the built-in chart: %w", err)
	}
	loaded, err := loader.LoadFiles(files)
	if err != nil {
		return nil, fmt.Errorf("load the built-in chart: %w", err)
	}
	loaded.Metadata.Version = strings.TrimPrefix(version.Version, "v")
	loaded.Metadata.AppVersion = version.Version
	return loaded, nil
}

func bufferedFiles(files fs.FS, root string) ([]*archive.BufferedFile, error) {
	var buffered []*archive.BufferedFile
	err := fs.WalkDir(files, root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		buffered = append(buffered, &archive.BufferedFile{Name: strings.TrimPrefix(path, root+"/"), Data: content})
		return nil
	})
	return buffered, err
}
