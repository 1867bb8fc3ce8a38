#!/usr/bin/env bash
# verify.sh CONTROLLER_GEN: check what a compiler does not. Every check runs; the failed ones are listed at the end.
set -euo pipefail

generator=$(realpath "$1")
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=()

check() {
	echo "--- $1"
	"${@:2}" || failed+=("$1")
}

formatted() {
	local unformatted
	unformatted=$(git ls-files -z -co --exclude-standard '*.go' | xargs -0 -r gofmt -l)
	[ -z "$unformatted" ] || { echo "not formatted by gofmt: $unformatted"; return 1; }
}

generated() {
	hack/generate.sh "$generator" "$scratch" || return
	local file status=0
	while IFS= read -r file; do
		diff -u "$file" "$scratch/$file" || status=1
	done < <(cd "$scratch" && find . -type f)
	[ $status -eq 0 ] || echo "generated files are not current: run 'make generate' and commit the result"
	return $status
}

scripts() {
	local file status=0
	for file in hack/*.sh .ci/run; do
		bash -n "$file" || status=1
		[ -x "$file" ] || { echo "$file is not executable"; status=1; }
	done
	return $status
}

check "Go files are formatted" formatted
check "generated files are current" generated
check "go.mod and go.sum are tidy" go mod tidy -diff
check "downloaded modules match go.sum" go mod verify
check "shell scripts parse and can be run" scripts
check "the repository's own rules" go test -count 1 ./internal/repotest

[ ${#failed[@]} -eq 0 ] || {
	printf 'FAILED: %s\n' "${failed[@]}"
	exit 1
}
echo "verified"
