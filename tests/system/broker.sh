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

case_is "one that was closed is no reason to suspect another client" \
    not logged 'another client'

# Another data directory is another host: it must not take this one's session.
id_in() { sed -n "s/.*connected to .* as '\(moonpool-.*\)' .*/\1/p" "$1" | head -1; }
other() {
    start OTHER "$BUILD/moonpool-host" --functions "$work/f" \
        --data "$work/$1" --mqtt "mqtt://127.0.0.1:$PORT" --workers 1 \
        2>"$work/other.log"
    until_true 10 grep -q 'mqtt: connected' "$work/other.log"
}
id=$(id_in "$work/log")
before=$(grep -c 'connection lost' "$work/log")
case_is "a host with another data directory connects" other data2
id2=$(id_in "$work/other.log")
case_is "its client id ($id2) is not $id" [ "$id2" != "$id" ]
case_is "and has four digits at its end" \
    eval '[[ $id2 =~ ^moonpool-.*-[0-9a-f]{4}$ ]]'
case_is "the first keeps its connection" \
    [ "$(grep -c 'connection lost' "$work/log")" -eq "$before" ]
end "$OTHER"
mv "$work/data2" "$work/data3"
case_is "the id moves with the data directory" \
    eval 'other data3 && [ "$(id_in "$work/other.log")" = "$id2" ]'
end "$OTHER"

case_is "SIGTERM ends it" end "$HOST"
case_is "and it says offline, retained" [ "$(status)" = offline ]

# What the session still has for a function that went away.
mosquitto_pub -p "$PORT" -q 1 -t slow/1 -m x
mosquitto_pub -p "$PORT" -q 1 -t slow/2 -m x
rm -r "$work/f/slow"
start HOST "$BUILD/moonpool-host" --functions "$work/f" --data "$work/data" \
    --mqtt "mqtt://127.0.0.1:$PORT" --workers 2 2>"$work/log"
case_is "messages that are for no function are told, once" \
    until_true 10 logged 'router: messages that no function is for.*topic="\?slow/1'
sleep 0.2
case_is "and not each of them" \
    [ "$(grep -c 'that no function is for' "$work/log")" -eq 1 ]
end "$HOST"
cases_end
