#!/usr/bin/env bash
# debian-root.sh FOLDER PACKAGE...: unpack Debian packages and all that they depend on into FOLDER, as the root of an image.
# Nothing is installed on this machine, and no maintainer script runs. What FOLDER already holds is left alone.
set -euo pipefail

[ $# -ge 2 ] || { echo "usage: $0 FOLDER PACKAGE..." >&2; exit 2; }
folder=$1
shift
[ "$(cat "$folder.packages" 2>/dev/null)" != "$*" ] || exit 0
command -v apt-get >/dev/null || {
	echo "The test images are made of Debian packages, and this machine has no apt: run it on Debian or Ubuntu." >&2
	exit 1
}

rm -rf "$folder" "$folder.packages" "$folder.archives"
mkdir -p "$folder" "$folder.archives"
# apt drops its rights for a download, and the folder is root's.
fetch=(apt-get download -q -o APT::Sandbox::User=root)
# A machine that has never asked for the lists of packages knows none.
"${fetch[@]}" --print-uris "$@" >/dev/null 2>&1 || apt-get update -q >/dev/null
# A dependency that is only a virtual name is printed in angle brackets, and its providers follow.
mapfile -t packages < <(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
	--no-replaces --no-enhances "$@" | grep '^[a-z0-9]' | sort -u)
for package in "$@"; do
	printf '%s\n' "${packages[@]}" | grep -qx "$package" || { echo "apt knows no package $package: run 'apt-get update'" >&2; exit 1; }
done
mapfile -t packages < <(apt-cache policy "${packages[@]}" | awk '/^[a-z0-9]/ {name=$1} /Candidate: [^(]/ {sub(/:$/, "", name); print name}')
download() { (cd "$folder.archives" && "${fetch[@]}" "${packages[@]}" >/dev/null); }
# The lists may be so old that their versions are gone.
download || { apt-get update -q >/dev/null && download; }
for archive in "$folder.archives"/*.deb; do dpkg-deb -x "$archive" "$folder"; done
rm -rf "$folder.archives"
# Last, so that what was interrupted is repeated.
echo "$*" >"$folder.packages"
