package openapi

import (
	"strings"

	"k8s.io/kube-openapi/pkg/common"
)

// NarrowV2 returns a copy of the configuration that knows only the models whose name holds one of the words, and
// what these need. An API server with a handful of kinds keeps parts of all 1,500 models of Kubernetes otherwise.
func NarrowV2(c *common.Config, words ...string) *common.Config {
	narrowed := *c
	narrowed.GetDefinitions = narrowDefinitions(c.GetDefinitions, words)
	if c.Definitions != nil {
		narrowed.Definitions = closure(c.Definitions, words)
	}
	return &narrowed
}

// NarrowV3 is NarrowV2 for version 3.
func NarrowV3(c *common.OpenAPIV3Config, words ...string) *common.OpenAPIV3Config {
	narrowed := *c
	narrowed.GetDefinitions = narrowDefinitions(c.GetDefinitions, words)
	if c.Definitions != nil {
		narrowed.Definitions = closure(c.Definitions, words)
	}
	return &narrowed
}

func narrowDefinitions(all common.GetOpenAPIDefinitions, words []string) common.GetOpenAPIDefinitions {
	return func(reference common.ReferenceCallback) map[string]common.OpenAPIDefinition {
		return closure(all(reference), words)
	}
}

// closure keeps what is named by a word, and everything that depends on.
func closure(all map[string]common.OpenAPIDefinition, words []string) map[string]common.OpenAPIDefinition {
	kept := map[string]common.OpenAPIDefinition{}
	var keep func(name string)
	keep = func(name string) {
		definition, known := all[name]
		if _, done := kept[name]; done || !known {
			return
		}
		kept[name] = definition
		for _, dependency := range definition.Dependencies {
			keep(dependency)
		}
	}
	for name := range all {
		for _, word := range words {
			if strings.Contains(name, word) {
				keep(name)
			}
		}
	}
	return kept
}
