#!/usr/bin/env bash
# faults.sh - one bad function hurts nobody else: while runaway loops, hoards,
# digs and stalls, overheat answers every reading; a worker that talks
# nonsense is killed; what is quarantined waits and is probed.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT

logged() { grep -q "$1" "$work/log"; }
alerts() { [ "$(grep -c "alerts/d" "$work/alerts")" -ge "$1" ]; }
pub() { mosquitto_pub -p "$PORT" -q 1 -t "$1" -m "$2"; }
# A counter from SIGUSR1, summed over its labels that match.
counter() {
    : >"$work/log.metrics"
    local before
    before=$(wc -l <"$work/log")
    kill -USR1 "$HOST"
    until_true 3 grep -q build_info <(tail -n "+$((before + 1))" "$work/log")
    sleep 0.1
    tail -n "+$((before + 1))" "$work/log" | grep "^moonpool_$1" |
        awk '{ n += $NF } END { print n + 0 }'
}
counter_is() { [ "$(counter "$1")" -eq "$2" ]; }

start_broker "$work/broker" "max_queued_messages 0" || exit 1
start SUB mosquitto_sub -p "$PORT" -q 1 -v -t 'alerts/#' >"$work/alerts"
mkdir -p "$work/f/apart"
cp -r examples/overheat examples/runaway "$work/f/"
printf '[function]\nname = apart\n[trigger in]\nmqtt = apart\n[scale]\nisolation = worker\n[grant]\npublish = alerts/apart\n' \
    >"$work/f/apart/function.conf"
echo 'return function(e) require "moonpool".publish("alerts/apart", e.data) end' \
    >"$work/f/apart/main.lua"
start HOST "$BUILD/moonpool-host" --functions "$work/f" --data "$work/data" \
    --mqtt "$URL" --workers 2 2>"$work/log"
until_true 20 logged 'host: ready' || { cat "$work/log"; exit 1; }
case_is "isolation = worker has a process of its own" \
    [ "$(pgrep -c -P "$HOST")" -eq 3 ]
pub apart mine
case_is "and answers" until_true 5 grep -q 'alerts/apart mine' "$work/alerts"

# Good readings all the while, bad requests in between.
(for ((n = 1; n <= 400; n++)); do
    echo "{\"temp\":$((100 + n))}"
    sleep 0.005
done) | mosquitto_pub -p "$PORT" -q 1 -l -t sensors/d1/env &
READINGS=$!
for way in hoard loop trespass calm dig stall calm stubborn calm loop loop; do
    pub "runaway/$way" x
    sleep 0.1
done
wait "$READINGS"
case_is "every reading is answered while others misbehave" \
    until_true 20 alerts 400
case_is "an endless loop ends as timeout" \
    until_true 10 logged 'runaway@1.0.0/requests: timeout'
case_is "a hoard ends as memory" logged 'runaway@1.0.0/requests: memory'
case_is "a publish outside the grants is told" logged 'not granted'
case_is "what can't be stopped is killed" \
    until_true 20 logged 'runaway@1.0.0/requests: killed'
case_is "and it is the guilty one's outcome only" \
    counter_is 'invocations_total{f="overheat",v="1.2.0",outcome="killed"}' 0

pub raw/d1/line 'nonsense'
pub sensors/d1/env '{"temp":'
case_is "a malformed payload is that function's outcome" \
    until_true 5 logged 'overheat@[0-9.]*/readings: main.lua:[0-9]*: .*at byte'

for ((n = 0; n < 7; n++)); do pub runaway/trespass "$n"; done
case_is "who fails again and again is quarantined" \
    until_true 10 logged 'runaway: quarantined after 5 failures'
pub sensors/d2/env '{"temp":77}'
case_is "the others go on" until_true 5 alerts 401
end "$HOST"

# A host whose workers talk nonsense.
mkdir "$work/bin"
cp "$BUILD/moonpool-host" "$work/bin/"
printf '#!/bin/sh\nhead -c 4000 /dev/urandom >&3\nexec sleep 60\n' \
    >"$work/bin/moonpool-worker"
chmod +x "$work/bin/moonpool-worker"
start HOST "$work/bin/moonpool-host" --functions "$work/f" \
    --data "$work/data2" --mqtt "$URL" --workers 1 2>"$work/log"
case_is "a worker that sends nonsense is killed" \
    until_true 10 logged 'does not parse'
case_is "the host lives on and stops when told" end "$HOST"
[ "$CASES_FAILED" -eq 0 ] || cat "$work"/log*
cases_end
