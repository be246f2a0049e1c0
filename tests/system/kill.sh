#!/usr/bin/env bash
# builds: release
# kill.sh - SIGKILL of the host and of workers at any moment loses nothing:
# every reading that the broker took for us is answered, in the order of its
# device, however often somebody is killed in between.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT

DEVICES=8 EACH=1500

host() {
    start HOST "$BUILD/moonpool-host" --functions "$work/functions" \
        --data "$work/data" --mqtt "$URL" --workers 2 2>>"$work/host.log"
}
workers() { pgrep -P "$HOST" -f moonpool-worker; }
ready_count() { grep -c 'host: ready' "$work/host.log"; }
is_ready() { [ "$(ready_count)" -gt "$1" ]; }

# What the function answers: DEVICE NUMBER, first occurrences only.
first_answers() {
    sed -E 's/^[^ ]*alerts\/([^ ]*) .*"temp":([0-9]+).*/\1 \2/' "$work/alerts" |
        awk '!seen[$0]++'
}
all_there() { [ "$(first_answers | wc -l)" -eq $((DEVICES * EACH)) ]; }
in_order() {
    first_answers | awk '$2 <= last[$1] { bad = 1 } { last[$1] = $2 }
        END { exit bad }'
}

mkdir -p "$work/functions"
cp -r examples/overheat "$work/functions/"
start_broker "$work/broker" "max_queued_messages 0" \
    "max_inflight_messages 1000" || exit 1
start SUB mosquitto_sub -p "$PORT" -q 1 -c -i checker -v -t 'alerts/#' \
    >"$work/alerts"
host
until_true 10 is_ready 0 || { cat "$work/host.log"; exit 1; }

PUBLISHERS=()
for ((device = 1; device <= DEVICES; device++)); do
    for ((n = 1; n <= EACH; n++)); do
        echo "{\"device\":\"d$device\",\"temp\":$((100 + n)),\"ok\":true}"
        ((n % 50)) || sleep 0.05
    done | mosquitto_pub -p "$PORT" -q 1 -l -t "sensors/d$device/env" &
    PUBLISHERS+=($!)
done

kills=0
while [ $kills -lt 12 ]; do
    sleep "0.$((RANDOM % 3))$((RANDOM % 10))"
    if ((kills % 3 == 2)); then
        victim=$(workers | head -1)
        [ -z "$victim" ] || kill -KILL "$victim"
    else
        count=$(ready_count)
        end "$HOST" KILL
        host
        until_true 5 is_ready "$count" || break
    fi
    kills=$((kills + 1))
done
wait "${PUBLISHERS[@]}"

case_is "after $kills kills every reading has its answer" \
    until_true 20 all_there
case_is "the answers of each device come in order" in_order
case_is "nothing was dropped" not grep -q 'dropped' "$work/host.log"
if [ "$CASES_FAILED" -gt 0 ]; then
    tail -30 "$work/host.log"
    echo "answers: $(first_answers | wc -l) of $((DEVICES * EACH))"
fi
case_is "SIGTERM ends it well" end "$HOST"
cases_end
