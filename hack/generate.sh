#!/usr/bin/env bash
# generate.sh CONTROLLER_GEN FOLDER: write the generated files below FOLDER, at their paths in the repository.
# FOLDER is the repository itself for `make generate` and an empty one for `make verify`.
set -euo pipefail

generator=$(realpath "$1") folder=$(realpath "$2")
cd "$(dirname "$0")/.."

for package in api/*/*/; do
	"$generator" object "paths=./$package" "output:dir=$folder/$package"
done
"$generator" crd paths=./api/... "output:crd:dir=$folder/config/crd"
# The chart carries the CRDs itself: Helm installs nothing from outside of a chart.
mkdir -p "$folder/charts/matryoshka/crds"
cp "$folder"/config/crd/*.yaml "$folder/charts/matryoshka/crds/"
mkdir -p "$folder/docs/user"
go run ./hack/syncreference >"$folder/docs/user/sync-reference.md"
