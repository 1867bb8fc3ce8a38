#!/usr/bin/env bash
# tool.sh FILE MODULE@VERSION: build a development tool at a pinned version into FILE.
#
# Not a `tool` line in go.mod: the linters alone would bring two hundred modules into the product's own choice of versions.
set -euo pipefail

file=$1 package=$2
folder=$(dirname "$file")
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
building=$(mktemp -d "$folder/building.XXXXXX")
trap 'rm -rf "$building"' EXIT
echo "building $package" >&2
GOBIN=$building go install "$package"
mv "$building"/* "$folder/$(basename "$file")"
