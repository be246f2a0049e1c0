#!/usr/bin/env bash
# powercut.sh - records what a host does to its disk, cuts the power at so
# many places of the record, and looks at what is left.
#
#   tests/powercut/powercut.sh BUILD [SEED [CUTS [EVENTS]]]
#
# First the test is tested: with a program that promises rows too early
# (synchronous=OFF or NORMAL) it must find losses, with FULL none.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
build=${1:?usage: powercut.sh BUILD [SEED [CUTS [EVENTS]]]}
build=$(realpath "$build")
seed=${2:-$RANDOM$RANDOM} cuts=${3:-1000} events=${4:-600}
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT

# small MODE: record small.c.
small() {
    mkdir "$work/small-$1"
    RECORD_BELOW=$work/small-$1 RECORD_LOG=$work/$1.log \
        LD_PRELOAD=$build/record.so \
        "$build/powercut-small" "$work/small-$1/moonpool.db" "$1" 120
}
replay() { "$build/powercut-replay" --seed "$seed" "$@"; }
loses() {
    small "$1" && replay --small "$work/$1.log" 100 >"$work/out"
    [ $? -eq 1 ] && return
    cat "$work/out"
    return 1
}
keeps() { small "$1" && replay --small "$work/$1.log" "$cuts"; }

# starts_on N: a host, without a broker, on what N cuts leave.  It judges by
# itself, too: a damaged database would be set aside.
starts_on() {
    local n
    for ((n = 1; n <= $1; n++)); do
        rm -rf "$work/left" && mkdir "$work/left"
        "$build/powercut-replay" --seed $((seed + n)) --leave "$work/left" \
            "$work/host.log" 1 >"$work/out" || return 1
        start HOST "$build/moonpool-host" --functions tests/crash/functions \
            --data "$work/left" --mqtt mqtt://127.0.0.1:1 2>"$work/said"
        if ! until_true 10 grep -q 'cannot connect' "$work/said" ||
            grep -qE 'corrupt|damaged|bug at' "$work/said"; then
            cat "$work/said"
            return 1
        fi
        end "$HOST" KILL # it would wait for the broker to take its outbox
    done
    return 0
}

echo "# powercut --seed $seed"
case_is "it finds what synchronous=OFF loses" loses OFF
case_is "it finds what synchronous=NORMAL loses" loses NORMAL
case_is "synchronous=FULL loses nothing" keeps FULL

record() {
    local pid
    start pid "$build/crash-test" --build "$build" --seed "$seed" \
        --number "$events" record "$work/host.log"
    wait "$pid"
}
if record; then
    case_is "$cuts cuts: nothing acknowledged is lost, nothing counted twice" \
        replay "$work/host.log" "$cuts"
    case_is "the host itself starts on what $((cuts / 25)) cuts leave" \
        starts_on $((cuts / 25))
else
    not_ok "there is no record to cut"
fi
cases_end
