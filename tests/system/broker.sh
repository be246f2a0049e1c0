#!/usr/bin/env bash
# broker.sh - a broker that is away is waited for, one that goes and comes
# back finds everything as it was, and a slow function holds up no other.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT

logged() { grep -q "$1" "$work/log"; }
alerts() { [ "$(sort -u "$work/alerts" 2>/dev/null | wc -l)" -ge "$1" ]; }
broker() {
    start BROKER mosquitto -c "$work/broker/mosquitto.conf" \
        >>"$work/broker/log" 2>&1
    until_true 5 listens "$PORT"
}
listen_for_alerts() {
    start SUB mosquitto_sub -p "$PORT" -q 1 -c -i checker -v -t 'alerts/#' \
        >>"$work/alerts" 2>/dev/null
    sleep 0.3
}

mkdir -p "$work/f" "$work/broker/db"
cp -r examples/overheat "$work/f/"
mkdir "$work/f/slow"
printf '[function]\nname = slow\n[trigger in]\nmqtt = slow/{n}\n[grant]\npublish = alerts/#\n' \
    >"$work/f/slow/function.conf"
echo 'local mp = require "moonpool"
return function(event)
    mp.sleep(1.5)
    mp.publish("alerts/slow", event.params.n)
end' >"$work/f/slow/main.lua"
free_port
printf 'listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/broker/db/\nautosave_interval 1\nautosave_on_changes true\nmax_queued_messages 0\n' \
    "$PORT" "$work" >"$work/broker/mosquitto.conf"
[ "$(id -u)" -ne 0 ] || echo "user $(id -un)" >>"$work/broker/mosquitto.conf"

start HOST "$BUILD/moonpool-host" --functions "$work/f" --data "$work/data" \
    --mqtt "mqtt://127.0.0.1:$PORT" --workers 2 2>"$work/log"
case_is "without a broker it starts and says that it waits" \
    until_true 10 logged 'ready, waiting for the broker'
broker
case_is "the broker is found when it comes" \
    until_true 10 logged 'mqtt: connected'
listen_for_alerts

mosquitto_pub -p "$PORT" -q 1 -t slow/1 -m x
sleep 0.1
before=$(date +%s%N)
mosquitto_pub -p "$PORT" -q 1 -t sensors/d1/env -m '{"temp":41}'
case_is "a slow function holds up no other for longer than hold" \
    until_true 2 grep -q 'alerts/d1' "$work/alerts"
took=$((($(date +%s%N) - before) / 1000000))
case_is "that took $took ms" [ "$took" -lt 1200 ]
case_is "and the slow one is answered too" \
    until_true 5 grep -q 'alerts/slow 1' "$work/alerts"

mosquitto_pub -p "$PORT" -q 1 -t slow/2 -m x
mosquitto_pub -V 5 -p "$PORT" -q 1 -t slow/2 -m y \
    -D publish message-expiry-interval 1
case_is "what has expired while it waited is dropped and told" \
    until_true 5 logged 'slow@0.0.0/in: dropped: expired'

status() { mosquitto_sub -p "$PORT" -C 1 -W 3 -t 'moonpool/+/status'; }
case_is "it says online, retained" [ "$(status)" = online ]

end "$SUB"
end "$BROKER"
case_is "a lost connection is told, with the next try" \
    until_true 5 logged 'mqtt: .*next try in'
broker
listen_for_alerts
case_is "the broker that comes back is found again" \
    until_true 15 eval '[ "$(grep -c "mqtt: connected" "$work/log")" -ge 2 ]'
mosquitto_pub -p "$PORT" -q 1 -t sensors/d2/env -m '{"temp":42}'
case_is "and everything goes on" \
    until_true 5 grep -q 'alerts/d2' "$work/alerts"

case_is "SIGTERM ends it" end "$HOST"
case_is "and it says offline, retained" [ "$(status)" = offline ]
cases_end
