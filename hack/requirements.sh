#!/usr/bin/env bash
# requirements.sh go|root|packages...: check what a target needs of this machine and install what can be installed.
# What it cannot provide it names, with the remedy, and fails.
set -euo pipefail
cd "$(dirname "$0")/.."

# What needs which package: Go fetches modules over TLS, and containerd images; matryd and kube-proxy run nft; the kubelet
# runs mount; the busybox image is made of busybox-static; runc is built with cgo against libseccomp.
packages=(ca-certificates nftables mount busybox-static gcc libc6-dev pkg-config libseccomp-dev)

# has PACKAGE: tell whether what is needed of a package is here, wherever it came from.
has() {
	case $1 in
	ca-certificates) [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] ;;
	nftables) command -v nft ;;
	mount) command -v mount ;;
	# One that needs a dynamic linker names it at its beginning.
	busybox-static) [ -x /bin/busybox ] && ! head -c 4096 /bin/busybox | grep -aqE 'ld-(linux|musl)' ;;
	gcc) command -v gcc ;;
	libc6-dev) [ -e /usr/include/stdlib.h ] ;;
	pkg-config) command -v pkg-config ;;
	libseccomp-dev) pkg-config --exists libseccomp ;;
	esac >/dev/null 2>&1
}

fail() {
	echo "$*" >&2
	exit 1
}

need_linux() {
	[ "$(uname -s)" = Linux ] || fail "The embedded host needs Linux; this is $(uname -s). Use a Linux machine or virtual machine."
}

need_go() {
	local wanted have
	wanted=$(sed -n 's/^go //p' go.mod)
	if ! command -v go >/dev/null; then
		[ -z "${SUDO_USER:-}" ] || fail "There is no 'go' on the PATH that sudo sets: try 'sudo env \"PATH=\$PATH\" make ...'."
		fail "Go $wanted or newer is needed, and there is no 'go' on the PATH: see https://go.dev/dl/"
	fi
	# With GOTOOLCHAIN=auto an older Go fetches the wanted one by itself; ask for the one that would really run.
	have=$(go env GOVERSION 2>/dev/null) || fail "Go $wanted or newer is needed; $(GOTOOLCHAIN=local go version 2>/dev/null || true) cannot be used: see https://go.dev/dl/"
	have=${have#go}
	[ "$(printf '%s\n' "$wanted" "${have%% *}" | sort -V | head -n 1)" = "$wanted" ] ||
		fail "Go $wanted or newer is needed; this is $have: see https://go.dev/dl/"
}

need_root() {
	[ "$(id -u)" -eq 0 ] || fail "The embedded host makes network namespaces, mounts and cgroups: run this as root (sudo make ...)."
}

need_packages() {
	local missing=()
	for package in "${packages[@]}"; do
		has "$package" || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null ||
		fail "This machine has no apt. Install what these Debian packages hold, by your own package manager: ${missing[*]}"
	echo "installing ${missing[*]}" >&2
	export DEBIAN_FRONTEND=noninteractive
	# The list of packages may be old or empty: refresh it only when it is needed.
	apt-get install -y -q --no-install-recommends "${missing[@]}" >&2 && return
	apt-get update -q >&2 || fail "apt-get update failed; the packages ${missing[*]} are needed."
	apt-get install -y -q --no-install-recommends "${missing[@]}" >&2 ||
		fail "apt-get could not install ${missing[*]}; install them by hand and try again."
}

for need in "$@"; do
	case $need in
	go) need_go ;;
	root)
		need_linux
		need_root
		;;
	packages) need_packages ;;
	*) fail "usage: $0 go|root|packages..." ;;
	esac
done
