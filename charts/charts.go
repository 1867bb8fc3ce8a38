// Package charts holds the product's Helm chart, so that `matry install` and `matry up` need no file beside the program.
package charts

import "embed"

// Matryoshka has the chart in the folder "matryoshka".
//
//go:embed all:matryoshka
var Matryoshka embed.FS
