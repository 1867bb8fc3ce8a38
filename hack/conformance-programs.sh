#!/usr/bin/env bash
# conformance-programs.sh FOLDER: build Kubernetes' end-to-end suite, the ginkgo that runs it, and the programs of its test
# images into FOLDER. Their versions are those of test/conformance/suite/go.mod. LDFLAGS stamps them: some tests compare
# the suite's version with the server's.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/../test/conformance/suite"

go test -c -ldflags "${LDFLAGS:-}" -o "$folder/e2e.test" k8s.io/kubernetes/test/e2e
go build -ldflags "${LDFLAGS:-}" -o "$folder/" \
	github.com/onsi/ginkgo/v2/ginkgo k8s.io/kubernetes/test/images/agnhost \
	k8s.io/kubernetes/test/images/nonewprivs k8s.io/sample-apiserver
go build -o "$folder/etcd" go.etcd.io/etcd/server/v3
