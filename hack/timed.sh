#!/usr/bin/env bash
# timed.sh NAME COMMAND...: run a command and say how long it took, whether it passed or not.
set -euo pipefail

name=$1
shift
start=$SECONDS
echo "=== $name"
status=0
"$@" || status=$?
echo "=== $name: $([ $status -eq 0 ] && echo passed || echo FAILED) in $((SECONDS - start)) s"
exit $status
