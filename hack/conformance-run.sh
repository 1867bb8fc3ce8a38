#!/usr/bin/env bash
# conformance-run.sh PROGRAMS KUBECONFIG NAME: run the conformance tests that FOCUS (a regular expression of ginkgo) selects
# against a cluster. In PROGRAMS, NAME.parallel.json and NAME.serial.json become the reports, NAME.log what was said.
# PROCESSES run at the same time: two for each CPU keep it busy, since tests wait too; with more of them each test is slower,
# and the run is not quicker. A failed test is no error here: the report tells.
set -euo pipefail

[ $# -eq 3 ] || { echo "usage: $0 PROGRAMS KUBECONFIG NAME" >&2; exit 2; }
given=$(realpath "$2")
name=$3
cd "$1"
rm -f "$name".{parallel,serial}.json
: >"$name.log"
# The suite leaves files behind. The path is short, since sockets are among them.
TMPDIR=$(mktemp -d -t matry-suite.XXXXXX)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

# The suite names the server once more to its clients, which makes them forget tls-server-name, by which the front door
# routes. So the name goes into the address, and into an /etc/hosts that only the suite sees.
server=$(sed -n "s/^ *tls-server-name: *//p" "$given")
kubeconfig=$PWD/$name.suite.kubeconfig
rm -f "$kubeconfig"
install -m 600 "$given" "$kubeconfig"
hosts=$PWD/$name.hosts
{ cat /etc/hosts; [ -z "$server" ] || echo "127.0.0.1 $server"; } >"$hosts"
if [ -n "$server" ]; then
	sed -i -e "/^ *tls-server-name:/d" -e "s|//127.0.0.1:|//$server:|" "$kubeconfig"
fi

# part PART PROCESSES LABELS: run the tests that have the labels.
part() {
	unshare --mount bash -euc 'mount --bind "$0" /etc/hosts; exec "$@"' "$hosts" \
		./ginkgo run --procs="$2" --no-color --keep-going --timeout=2h --focus="${FOCUS:-.}" --label-filter="Conformance && $3" \
		--output-dir=. --json-report="$name.$1.json" ./e2e.test -- --provider=skeleton --kubeconfig="$kubeconfig" \
		--num-nodes=1 --disable-log-dump --max-nodes-to-gather-from=0 >>"$name.log" 2>&1 || true
	[ -s "$name.$1.json" ] || { echo "ginkgo wrote no report; the end of $PWD/$name.log:" >&2; tail -n 20 "$name.log" >&2; exit 1; }
}

part parallel "${PROCESSES:-$((2 * $(nproc)))}" '!Serial'
part serial 1 Serial
