#!/usr/bin/env bash
# zones.sh - os.date in a real host: each function has its own time zone, the
# others the node's, in one worker.
# builds: release sanitized
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT

logged() { grep -qF -- "$1" "$work/log"; }
# function_of NAME LINE...: it logs what clocks showed in July 2025, at noon of
# UTC, again and again.
function_of() {
    mkdir -p "$work/f/$1"
    printf '%s\n' "[function]" "${@:2}" "[trigger tick]" "every = 100ms" \
        "at_start = yes" >"$work/f/$1/function.conf"
    echo 'return function() print(os.date("%H:%M %Z", 1751371200)) end' \
        >"$work/f/$1/main.lua"
}

function_of paris "timezone = Europe/Paris"
function_of york "timezone = America/New_York"
function_of mine
printf '[node]\ntimezone = Asia/Kolkata\n' >"$work/moonpool.conf"

free_port
start HOST "$BUILD/moonpool-host" --config "$work/moonpool.conf" \
    --functions "$work/f" --data "$work/data" --workers 1 \
    --mqtt "mqtt://127.0.0.1:$PORT" 2>"$work/log"
case_is "a function has the zone it names" \
    until_true 20 logged "paris@0.0.0/tick: 14:00 CEST"
case_is "and another one another, in the same worker" \
    until_true 20 logged "york@0.0.0/tick: 08:00 EDT"
case_is "who names none has the node's" \
    until_true 20 logged "mine@0.0.0/tick: 17:30 IST"
case_is "none of them ever shows another's" \
    not grep -E "(paris.*(EDT|IST)|york.*(CEST|IST)|mine.*(CEST|EDT))" "$work/log"

cases_end
