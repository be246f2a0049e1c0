#!/usr/bin/env bash
# backlog.sh - more messages in flight than there are packet ids, the host
# killed again and again: each counts once.
# builds: release
#
# A broker that sends faster than it reads our acknowledgements sends a whole
# round of ids again after each kill, and more.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
devices=10 each=9000

logged() { grep -q "$1" "$work/log"; }
host() {
    : >"$work/log"
    start HOST "$BUILD/moonpool-host" --functions "$work/f" \
        --data "$work/data" --mqtt "$URL" --workers 1 2>"$work/log"
    until_true 10 logged 'host: ready' || cat "$work/log"
}
publish() { yes 1 | head -n "$each" | mosquitto_pub -p "$PORT" -q 1 -t "line/$1/n" -l; }
counted() {
    sqlite3 "file:$work/data/moonpool.db?mode=ro" \
        'SELECT TOTAL(value) FROM state' 2>/dev/null
}
is_counted() { [ "$(counted)" = "$((devices * each)).0" ]; }

start_broker "$work/broker" "max_queued_messages 0" || exit 1
mkdir -p "$work/f/count"
printf '[trigger in]\nmqtt = line/{device}/n\n[state]\nkey = {device}\n' \
    >"$work/f/count/function.conf"
echo 'local mp = require "moonpool"
return function(event) mp.state.increment("n") end' >"$work/f/count/main.lua"
host
for ((n = 1; n <= devices; n++)); do publish "$n" & done
for _ in 1 2 3 4 5 6; do
    sleep "0.$((RANDOM % 4 + 3))"
    kill -KILL "$HOST"
    until_true 5 not runs "$HOST"
    wait "$HOST" 2>/dev/null
    host
done
case_is "after 6 kills $devices devices have counted to $each, each message once" \
    until_true 60 is_counted
sleep 0.5
case_is "and no more" is_counted
is_counted || counted
end "$HOST"
cases_end
