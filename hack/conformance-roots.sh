#!/usr/bin/env bash
# conformance-roots.sh PROGRAMS PAUSE FOLDER: make the folders that the layers of the test images are made of, out of the
# programs of conformance-programs.sh and of test/conformance/{sh,registry}, the product's pause, Debian packages and the
# files of Kubernetes' test images.
set -euo pipefail

[ $# -eq 3 ] || { echo "usage: $0 PROGRAMS PAUSE FOLDER" >&2; exit 2; }
here=$(dirname "$(realpath "$0")")
programs=$(realpath "$1")
pause=$(realpath "$2")
upstream=$(cd "$here/../test/conformance/suite" && go list -m -f '{{.Dir}}' k8s.io/kubernetes)/test/images
mkdir -p "$3"
cd "$3"

# system ROOT: what a system needs that no package brings: accounts, folders, and BusyBox for every tool that is missing.
system() {
	local root=$1 tool
	mkdir -p "$root"/{bin,etc,root,var,usr/bin,usr/local/bin,home}
	mkdir -p -m 1777 "$root/tmp"
	cat >"$root/etc/passwd" <<-'PASSWD'
		root:x:0:0:root:/root:/bin/sh
		nobody:x:65534:65534:nobody:/home:/bin/false
		www-data:x:33:33:www-data:/var/www:/bin/false
		user-defined-in-image:x:1000:1000::/home:/bin/sh
	PASSWD
	cat >"$root/etc/group" <<-'GROUP'
		root:x:0:
		www-data:x:33:
		nogroup:x:65534:
		user-defined-in-image:x:1000:
		group-defined-in-image:x:50000:user-defined-in-image
	GROUP
	cp -f /etc/os-release "$root/etc/os-release"
	# The test of image volumes wants to read there what upstream's image is made from.
	echo 'VARIANT="in place of Alpine Linux"' >>"$root/etc/os-release"
	for tool in $("$root/bin/busybox" --list); do
		[ -e "$root/bin/$tool" ] || [ -e "$root/usr/bin/$tool" ] || [ -e "$root/sbin/$tool" ] || [ -e "$root/usr/sbin/$tool" ] ||
			ln -sfn busybox "$root/bin/$tool"
	done
	ln -sfn bash-static "$root/bin/sh"
	ln -sfn bash-static "$root/bin/bash"
}

# program ROOT PATH PROGRAM: put a program into a layer of its own.
program() {
	mkdir -p "$1/$(dirname "$2")"
	cp -f "$3" "$1/$2"
}

"$here/debian-root.sh" busybox busybox-static bash-static
system busybox
cp -f --remove-destination "$programs/sh" busybox/bin/sh
"$here/debian-root.sh" debian busybox-static bash-static bind9-dnsutils curl netcat-openbsd iproute2 libc-bin
system debian
ln -sfn nc.openbsd debian/bin/nc
"$here/debian-root.sh" nginx busybox-static bash-static nginx
system nginx
mkdir -p nginx/var/log/nginx nginx/var/lib/nginx nginx/run nginx/etc/nginx/sites-enabled
ln -sfn ../sites-available/default nginx/etc/nginx/sites-enabled/default
ln -sfn /dev/stdout nginx/var/log/nginx/access.log
ln -sfn /dev/stderr nginx/var/log/nginx/error.log

program pause pause "$pause"
program agnhost agnhost "$programs/agnhost"
ln -sfn agnhost agnhost/agnhost-2
mkdir -p agnhost/uploads
cp -f "$upstream"/agnhost/porter/localhost.{crt,key} agnhost/
for animal in kitten nautilus; do
	mkdir -p "$animal"
	cp -f "$upstream/$animal/html/"* "$animal/"
done
program nonewprivs usr/local/bin/nnp "$programs/nonewprivs"
chmod u+s nonewprivs/usr/local/bin/nnp
program sample-apiserver sample-apiserver "$programs/sample-apiserver"
program etcd usr/local/bin/etcd "$programs/etcd"
program registry registry "$programs/registry"
