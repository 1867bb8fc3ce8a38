#!/usr/bin/env bash
# node-programs.sh FOLDER: build the programs that run beside matryd host into FOLDER: containerd with its shim and ctr,
# runc, the CNI plugins, and metrics-server. Versions are pinned here; what FOLDER already holds at that version is left alone.
set -euo pipefail

containerd=v2.4.2
runc=v1.5.2
cni=v1.9.1
metrics_server=v0.9.0

[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
export GOBIN="$folder" GOFLAGS=-buildvcs=false
# Outside of any module: the programs are built with their own dependencies, not with ours.
cd /

# build STAMP VERSION PROGRAM... -- ENVIRONMENT AND ARGUMENTS OF go install...
build() {
	local name=$1 version=$2 missing=
	shift 2
	local programs=()
	while [ "$1" != -- ]; do programs+=("$1"); shift; done
	shift
	for program in "${programs[@]}"; do [ -x "$folder/$program" ] || missing=1; done
	if [ -z "$missing" ] && [ "$(cat "$folder/.$name.version" 2>/dev/null)" = "$version" ]; then
		return
	fi
	echo "building $name $version: ${programs[*]}" >&2
	rm -f "$folder/.$name.version"
	env "$@"
	# Last, so that an interrupted build is repeated.
	echo "$version" >"$folder/.$name.version"
}

c=github.com/containerd/containerd/v2
build containerd "$containerd" containerd containerd-shim-runc-v2 ctr -- \
	CGO_ENABLED=0 go install -ldflags "-s -w -X $c/version.Version=$containerd" \
	"$c/cmd/containerd@$containerd" "$c/cmd/containerd-shim-runc-v2@$containerd" "$c/cmd/ctr@$containerd"

p=github.com/containernetworking/plugins/plugins
build cni "$cni" ptp loopback host-local portmap -- \
	CGO_ENABLED=0 go install -ldflags "-s -w" \
	"$p/main/ptp@$cni" "$p/main/loopback@$cni" "$p/ipam/host-local@$cni" "$p/meta/portmap@$cni"

build metrics-server "$metrics_server" metrics-server -- \
	CGO_ENABLED=0 go install -ldflags "-s -w" "sigs.k8s.io/metrics-server/cmd/metrics-server@$metrics_server"

# runc enters namespaces in C before Go starts, and filters system calls with libseccomp: it alone needs cgo.
pkg-config --exists libseccomp 2>/dev/null || {
	echo "runc needs the headers of libseccomp: apt-get install libseccomp-dev pkg-config gcc" >&2
	exit 1
}
build runc "$runc" runc -- \
	CGO_ENABLED=1 go install -tags seccomp -ldflags "-s -w" "github.com/opencontainers/runc@$runc"
