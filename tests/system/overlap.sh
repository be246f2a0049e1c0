#!/usr/bin/env bash
# overlap.sh - filters that overlap, within a function and between functions,
# never run a function twice, on MQTT 5 and on 3.1.1; the first trigger in
# file order takes the event; retained messages and shared groups.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT

logged() { grep -q "$1" "$work/log"; }
count() { [ "$(grep -c "$1" "$work/out")" -eq "$2" ]; }

# function NAME LINE...: answers out/NAME with trigger and params.
function_of() {
    mkdir -p "$work/f/$1"
    printf '%s\n' "[function]" "name = $1" "${@:2}" "[grant]" \
        "publish = out/$1" >"$work/f/$1/function.conf"
    echo "local mp = require 'moonpool'
return function(e)
    local p = {}
    for name, value in pairs(e.params) do p[#p + 1] = name .. '=' .. value end
    table.sort(p)
    mp.publish('out/$1', e.trigger .. ' ' .. e.data .. ' ' .. table.concat(p, ','))
end" >"$work/f/$1/main.lua"
}

function_of own "[trigger special]" "mqtt = t/{x}/v" "[trigger all]" \
    "mqtt = t/{rest...}"
function_of other "[trigger in]" "mqtt = t/+/v, t/#, +/a/+"
function_of quiet "[trigger in]" "mqtt = t/a/v" "retained = no"
function_of grouped "[trigger in]" "mqtt = g/#" "share = one"

for version in 5 3.1.1; do
    rm -rf "$work/data"
    start_broker "$work/broker" || exit 1
    mosquitto_pub -p "$PORT" -q 1 -r -t t/a/v -m kept
    printf '[mqtt]\nversion = %s\n' "$version" >"$work/moonpool.conf"
    start SUB mosquitto_sub -p "$PORT" -q 1 -v -t 'out/#' >"$work/out"
    start HOST "$BUILD/moonpool-host" --config "$work/moonpool.conf" \
        --functions "$work/f" --data "$work/data" --mqtt "$URL" \
        --workers 2 2>"$work/log"
    until_true 10 logged 'host: ready' || { cat "$work/log"; exit 1; }
    case_is "$version: a retained message comes to who wants it" \
        until_true 5 count 'out/own special kept x=a' 1
    for n in 1 2 3 4 5 6 7 8 9 10; do
        mosquitto_pub -p "$PORT" -q 1 -t t/a/v -m "m$n"
    done
    mosquitto_pub -p "$PORT" -q 1 -t t/b -m deep
    mosquitto_pub -p "$PORT" -q 1 -t g/1 -m shared
    case_is "$version: the second trigger takes what the first does not" \
        until_true 5 count 'out/own all deep rest=b' 1
    case_is "$version: shared groups deliver" \
        until_true 5 count 'out/grouped in shared' 1
    sleep 0.3
    case_is "$version: the first matching trigger runs, once each" \
        count 'out/own special m' 10
    case_is "$version: the second never takes it too" \
        count 'out/own all m' 0
    case_is "$version: three overlapping patterns run a function once" \
        count 'out/other in m' 10
    case_is "$version: retained = no takes no retained message" \
        count 'out/quiet in kept' 0
    case_is "$version: but the live ones" count 'out/quiet in m' 10
    end "$HOST"
    end "$SUB"
    end "$BROKER"
done
[ "$CASES_FAILED" -eq 0 ] || { cat "$work/out" "$work/log"; }
cases_end
