#!/usr/bin/env bash
# crash.sh - kills the host at every crash point, at random instants, and in
# company of workers and the broker.
#
#   tests/crash/crash.sh BUILD [SEED]     a build with CRASH=1
#
# Seeds that failed once are in tests/crash/seeds and run first.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
build=${1:?usage: crash.sh BUILD [SEED]}
seed=${2:-$RANDOM$RANDOM}

# drive ARGUMENT...: in the foreground, but ended with us.
drive() {
    local pid
    start pid "$build/crash-test" --build "$build" "$@"
    wait "$pid" || CASES_FAILED=$((CASES_FAILED + 1))
}

while read -r mode old number; do
    case $mode in '#'* | '') continue ;; esac
    drive --seed "$old" --number "$number" "$mode"
done <tests/crash/seeds

mapfile -t points < <(tests/crash/points.sh)
echo "# crash points: ${points[*]}"
drive --seed "$seed" points "${points[@]}"
drive --seed "$seed" careful
drive --seed "$seed" random
drive --seed "$seed" mixed
cases_end
