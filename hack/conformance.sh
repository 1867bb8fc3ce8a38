#!/usr/bin/env bash
# conformance.sh BIN PROGRAMS: run the conformance tests on an embedded host of its own and in a virtual cluster on it, print
# what passed and failed, and keep it in docs/conformance.md. FOCUS selects tests, PROFILES (host, default, conformance)
# where they run.
# With CONFORMANCE_DATA_DIR a host that runs already is used, and left running.
set -euo pipefail

[ $# -eq 2 ] || { echo "usage: $0 BIN PROGRAMS" >&2; exit 2; }
here=$(dirname "$(realpath "$0")")
bin=$(realpath "$1")
programs=$(realpath "$2")
data=${CONFORMANCE_DATA_DIR:-}

matry() { "$bin/matry" --data-dir "$data" "$@"; }

if [ -z "$data" ]; then
	data=$(mktemp -d -p "${MATRY_TEST_DIR:-${TMPDIR:-/tmp}}")
	trap 'matry down --purge' EXIT
	matry up --nodes 2 --api-port 16643 --front-door-port 16644
fi
matry load image "$programs/images.tar"

reports=()
for profile in ${PROFILES:-host default}; do
	kubeconfig=$programs/$profile.kubeconfig
	rm -f "$kubeconfig"
	case $profile in
	host) matry kubeconfig host >"$kubeconfig" ;;
	default | conformance)
		settings=()
		[ "$profile" = default ] || settings=(--pod-security privileged --isolation=false --scheduling tenant)
		matry create virtualcluster "$profile" -n conformance --create-namespace "${settings[@]}"
		matry kubeconfig virtualcluster "$profile" -n conformance --file "$kubeconfig"
		;;
	*)
		echo "PROFILES holds $profile; known are host, default and conformance" >&2
		exit 2
		;;
	esac
	chmod 600 "$kubeconfig"
	echo "=== conformance tests in profile $profile; see $programs/$profile.log"
	"$here/conformance-run.sh" "$programs" "$kubeconfig" "$profile"
	[ "$profile" = host ] || matry delete virtualcluster "$profile" -n conformance --yes
	reports+=("$profile=$programs/$profile.parallel.json" "$profile=$programs/$profile.serial.json")
done
"$programs/report" "$here/../docs/conformance.md" "${reports[@]}"
