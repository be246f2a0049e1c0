#!/usr/bin/env bash
# careful.sh - a host that crashes again and again takes one event at a time,
# and gives up the one it dies of; one that is killed from outside blames
# nobody.
# builds: release
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT

logged() { grep -q "$1" "$work/log"; }
host() {
    : >"$work/log"
    start HOST "$BUILD/moonpool-host" --functions "$work/f" \
        --data "$work/data" --mqtt "$URL" --workers 1 2>"$work/log"
    until_true 10 logged 'host: ready' || cat "$work/log"
}
crash() {
    kill -s "$1" "$HOST"
    until_true 5 not runs "$HOST"
    wait "$HOST" 2>/dev/null
}

start_broker "$work/broker" "persistence false" || exit 1
mkdir -p "$work/f/slow" "$work/f/quick"
printf '[trigger in]\nmqtt = slow/in\n[limits]\ntimeout = 60s\n' \
    >"$work/f/slow/function.conf"
echo 'local mp = require "moonpool"
return function(event) mp.sleep(30) end' >"$work/f/slow/main.lua"
printf '[trigger in]\nmqtt = quick/in\n[grant]\npublish = quick/out\n' \
    >"$work/f/quick/function.conf"
echo 'local mp = require "moonpool"
return function(event) mp.publish("quick/out", event.data) end' \
    >"$work/f/quick/main.lua"

for _ in 1 2 3 4; do
    host
    crash KILL
done
host
case_is "killed from outside again and again, it is as usual" \
    not logged 'one at a time'
for _ in 1 2; do
    crash ABRT
    host
    case_is "a crash is told" logged 'the host crashed'
done
crash SEGV
host
case_is "after three crashes within a minute it is careful" \
    logged 'events are run one at a time'
start OUT mosquitto_sub -p "$PORT" -q 1 -C 1 -W 10 -t quick/out >"$work/out"
sleep 0.3
mosquitto_pub -p "$PORT" -q 1 -t quick/in -m hello
case_is "events still get through" until_true 5 grep -q hello "$work/out"
mosquitto_pub -p "$PORT" -q 1 -t slow/in -m poison
sleep 2
crash ABRT
host
case_is "the event it died with becomes a dead letter, unrun" \
    until_true 5 logged 'slow@0.0.0/in: crash: the host died'
start OUT mosquitto_sub -p "$PORT" -q 1 -C 1 -W 10 -t quick/out >"$work/out"
sleep 0.3
mosquitto_pub -p "$PORT" -q 1 -t quick/in -m again
case_is "the others go on" until_true 5 grep -q again "$work/out"
end "$HOST"
case_is "it ends well" test $? -eq 0
cases_end
