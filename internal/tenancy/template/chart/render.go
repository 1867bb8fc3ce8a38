package chart

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

const (
	// maxUnpacked is how large a chart may be, unpacked.
	maxUnpacked = 16 << 20
	// maxRendered is how large all that a chart renders may be, and maxDocuments how many objects.
	maxRendered  = 4 << 20
	maxDocuments = 1000

	hookAnnotation = "helm.sh/hook"
)

// renderChecked renders the chart and, where values hold texts that could mean something in YAML, renders it again with placeholders.
func renderChecked(asked *request) ([]map[string]any, error) {
	objects, err := render(asked.Archive, asked.Release, asked.Version, asked.Values)
	if err != nil || len(asked.Placeholders) == 0 {
		return objects, err
	}
	expected, err := render(asked.Archive, asked.Release, asked.Version, asked.Neutral)
	if err != nil {
		return nil, errors.New("the chart cannot be rendered with other values in the place of those that hold special characters; " +
			"restrict these parameters by options, or leave the characters out")
	}
	if where, same := compare(toList(expected), toList(objects), asked.Placeholders); !same {
		return nil, fmt.Errorf("a parameter's value changes what the chart makes beside it, at %s: the value holds characters that mean something in YAML, and the chart does not quote it", where)
	}
	return objects, nil
}

func toList(objects []map[string]any) []any {
	list := make([]any, len(objects))
	for i := range objects {
		list[i] = objects[i]
	}
	return list
}

func render(archive []byte, release Release, version string, values map[string]any) ([]map[string]any, error) {
	loaded, err := load(archive)
	if err != nil {
		return nil, err
	}
	capabilities := common.DefaultCapabilities.Copy()
	kubeVersion, err := common.ParseKubeVersion(version)
	if err != nil {
		return nil, fmt.Errorf("read the version of the host cluster: %w", err)
	}
	capabilities.KubeVersion = *kubeVersion
	if wanted := loaded.Metadata.KubeVersion; wanted != "" && !chartutil.IsCompatibleRange(wanted, version) {
		return nil, fmt.Errorf("the chart needs Kubernetes %s, and the host cluster has %s", wanted, version)
	}
	if err := chartutil.ProcessDependencies(loaded, values); err != nil {
		return nil, fmt.Errorf("read the chart's dependencies: %w", err)
	}
	options := common.ReleaseOptions{Name: release.Name, Namespace: release.Namespace, Revision: 1, IsInstall: true}
	all, err := commonutil.ToRenderValues(loaded, values, options, capabilities)
	if err != nil {
		return nil, fmt.Errorf("read the values: %w", err)
	}
	files, err := engine.Render(loaded, all)
	if err != nil {
		return nil, fmt.Errorf("render the chart: %w", err)
	}
	return parse(files)
}

// load reads a chart and refuses what is not supported.
func load(archive []byte) (*chart.Chart, error) {
	if err := checkSize(archive); err != nil {
		return nil, err
	}
	loaded, err := loader.LoadArchive(bytes.NewReader(archive))
	if err != nil {
		return nil, fmt.Errorf("read the chart: %w", err)
	}
	if err := loaded.Validate(); err != nil {
		return nil, fmt.Errorf("check the chart: %w", err)
	}
	if loaded.Metadata.Type != "" && loaded.Metadata.Type != "application" {
		return nil, fmt.Errorf("a chart of type %s cannot be applied", loaded.Metadata.Type)
	}
	if len(loaded.CRDObjects()) > 0 {
		return nil, errors.New("the chart brings CRDs, which belong to the whole host cluster; whoever runs it installs them")
	}
	if missing := missingDependency(loaded); missing != "" {
		return nil, fmt.Errorf("the chart needs chart %s and does not hold it; package it with its dependencies", missing)
	}
	return loaded, checkSchemas(loaded)
}

func checkSize(archive []byte) error {
	unpacked, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return errors.New("the chart is no gzipped archive")
	}
	n, err := io.Copy(io.Discard, io.LimitReader(unpacked, maxUnpacked+1))
	if err != nil {
		return errors.New("the chart's archive is damaged")
	}
	if n > maxUnpacked {
		return fmt.Errorf("the chart has more than %d bytes when it is unpacked", maxUnpacked)
	}
	return nil
}

func missingDependency(loaded *chart.Chart) string {
	for _, wanted := range loaded.Metadata.Dependencies {
		if !slices.ContainsFunc(loaded.Dependencies(), func(held *chart.Chart) bool { return held.Name() == wanted.Name }) {
			return wanted.Name
		}
	}
	return ""
}

// checkSchemas refuses schemas that refer to others: they would be fetched while the values are checked.
func checkSchemas(loaded *chart.Chart) error {
	if len(loaded.Schema) > 0 {
		var schema any
		if err := json.Unmarshal(loaded.Schema, &schema); err != nil {
			return errors.New("the chart's values.schema.json cannot be read")
		}
		if refersOutside(schema) {
			return errors.New("the chart's values.schema.json refers to other schemas; they would have to be fetched")
		}
	}
	for _, dependency := range loaded.Dependencies() {
		if err := checkSchemas(dependency); err != nil {
			return err
		}
	}
	return nil
}

func refersOutside(node any) bool {
	switch node := node.(type) {
	case map[string]any:
		for key, child := range node {
			text, isText := child.(string)
			switch {
			case isText && key == "$schema" && !strings.HasPrefix(text, "http://json-schema.org/") && !strings.HasPrefix(text, "https://json-schema.org/"):
				return true
			case isText && strings.HasSuffix(strings.ToLower(key), "ref") && strings.HasPrefix(key, "$") && !strings.HasPrefix(text, "#"):
				return true
			}
			if refersOutside(child) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(node, refersOutside)
	}
	return false
}

// parse reads what a chart has rendered, in the order of its files' names.
func parse(files map[string]string) ([]map[string]any, error) {
	total := 0
	for _, file := range files {
		total += len(file)
	}
	if total > maxRendered {
		return nil, fmt.Errorf("the chart renders more than %d bytes", maxRendered)
	}
	var objects []map[string]any
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if path.Base(file) == "NOTES.txt" {
			continue
		}
		decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(files[file]), 4096)
		for {
			var object map[string]any
			if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, fmt.Errorf("what %s renders is no YAML: %w", file, err)
			}
			if len(object) == 0 {
				continue
			}
			keep, err := withoutHooks(file, object)
			if err != nil {
				return nil, err
			}
			if keep {
				objects = append(objects, object)
			}
			if len(objects) > maxDocuments {
				return nil, fmt.Errorf("the chart renders more than %d objects", maxDocuments)
			}
		}
	}
	return objects, nil
}

// withoutHooks leaves tests out, which run when somebody asks for them, and refuses other hooks: they are jobs in between, which
// would be kept in step as if they were part of the result.
func withoutHooks(file string, object map[string]any) (keep bool, err error) {
	// An object without metadata is refused later.
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	hooks, _ := annotations[hookAnnotation].(string)
	if hooks == "" {
		return true, nil
	}
	for hook := range strings.SplitSeq(hooks, ",") {
		if hook = strings.TrimSpace(hook); hook != "test" && hook != "test-success" && hook != "test-failure" {
			return false, fmt.Errorf("%s renders a hook (%s), and hooks are not supported", file, hook)
		}
	}
	return false, nil
}
