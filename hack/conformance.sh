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

# mirror: where containerd reads at each pull who stands for registry.k8s.io.
mirror() { echo "$data/registries/registry.k8s.io/hosts.toml"; }

# start_registry: serve the test images to the nodes in the name of registry.k8s.io, for tests that insist on pulling one. The
# pod tolerates the taints that tests give to nodes.
start_registry() {
	local address
	matry kubectl apply -f - <<-NAMESPACE
		apiVersion: v1
		kind: Namespace
		metadata: {name: conformance-registry}
	NAMESPACE
	matry kubectl wait --for=create serviceaccount/default -n conformance-registry --timeout 5m
	matry kubectl apply -f - <<-POD
		apiVersion: v1
		kind: Pod
		metadata: {name: registry, namespace: conformance-registry}
		spec:
		  tolerations: [{operator: Exists}]
		  containers:
		  - name: registry
		    image: matryoshka.dev/registry:conformance
		    args: [/images.tar, ":5000"]
		    readinessProbe: {httpGet: {path: /v2/, port: 5000}}
		    volumeMounts: [{name: images, mountPath: /images.tar, readOnly: true}]
		  volumes: [{name: images, hostPath: {path: "$programs/images.tar", type: File}}]
	POD
	matry kubectl wait pod registry -n conformance-registry --for condition=Ready --timeout 5m
	address=$(matry kubectl get pod registry -n conformance-registry -o jsonpath='{.status.podIP}')
	mkdir -p "$(dirname "$(mirror)")"
	cat >"$(mirror)" <<-HOSTS
		[host."http://$address:5000"]
		capabilities = ["pull", "resolve"]
	HOSTS
}

if [ -z "$data" ]; then
	data=$(mktemp -d -p "${MATRY_TEST_DIR:-${TMPDIR:-/tmp}}")
	trap 'matry down --purge' EXIT
	matry up --nodes 2 --api-port 16643 --front-door-port 16644
else
	[ ! -e "$(mirror)" ] || { echo "the host has a mirror of registry.k8s.io: remove $(mirror), the tests bring their own" >&2; exit 1; }
	trap 'rm -f "$(mirror)"; matry kubectl delete namespace conformance-registry --ignore-not-found' EXIT
fi
matry load image "$programs/images.tar"
start_registry

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
	[ "$profile" = host ] || matry delete virtualcluster "$profile" -n conformance --yes --timeout 10m
	reports+=("$profile=$programs/$profile.parallel.json" "$profile=$programs/$profile.serial.json")
done
"$programs/report" "$here/../docs/conformance.md" "${reports[@]}"
