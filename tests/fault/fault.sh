#!/usr/bin/env bash
# fault.sh - the Nth write, sync and allocation of the host fails, for each N.
#
#   tests/fault/fault.sh BUILD [SEED [--brief]]
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
build=${1:?usage: fault.sh BUILD [SEED [--brief]]}
seed=${2:-$RANDOM$RANDOM}
start DRIVER "$build/crash-test" --build "$build" --seed "$seed" \
    ${3:+"$3"} fault
wait "$DRIVER"
