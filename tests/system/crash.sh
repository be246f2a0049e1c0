#!/usr/bin/env bash
# builds: sanitized
# long
# crash.sh - the short version of make crash: some crash points, some random
# kills, some of workers and the broker.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
seed=$RANDOM$RANDOM

# drive ARGUMENT...: its lines are our cases.
drive() {
    local pid
    start pid "$BUILD/crash-test" --build "$BUILD" --seed "$seed" "$@"
    wait "$pid" || CASES_FAILED=$((CASES_FAILED + 1))
}
mapfile -t points < <(tests/crash/points.sh)
drive --brief points "${points[@]}"
drive careful
drive --number 4 random
drive --number 4 mixed
cases_end
