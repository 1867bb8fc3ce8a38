#!/usr/bin/env bash
# packages.sh unit|integration|bench: print the packages whose tests belong to a level.
#
# A package is in `integration` when its tests start API servers: they use internal/testenv or have a test named
# TestIntegration... . It is tested there as a whole, so that no heavy test binary is linked twice. Everything else is in
# `unit`, but test/e2e, which needs a host, and internal/repotest, which needs built programs and is run by `make verify`.
set -euo pipefail
cd "$(dirname "$0")/.."

# folders PATTERN: folders with a test file in which the pattern stands.
folders() {
	{ grep -rlE --include='*_test.go' "$1" api cmd internal || true; } | xargs -r -n1 dirname | sort -u
}

case ${1:-} in
unit)
	integration=$(folders 'internal/(testenv|tenancy/tenancytest)"|^func TestIntegration')
	go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./api/... ./cmd/... ./internal/... ./test/... |
		grep -vE '/internal/repotest$|/test/e2e$' | sed "s|^$PWD/|./|" | grep -vxF "$(sed 's|^|./|' <<<"$integration")"
	;;
integration) folders 'internal/(testenv|tenancy/tenancytest)"|^func TestIntegration' | sed 's|^|./|' ;;
bench) folders '^func Benchmark' | sed 's|^|./|' ;;
*)
	echo "usage: $0 unit|integration|bench" >&2
	exit 2
	;;
esac
