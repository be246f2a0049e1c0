#!/usr/bin/env bash
# retained.sh - what is retained comes when it is subscribed, once: neither a
# restart of the host nor one of the broker runs it again, and a function that
# comes later gets it without the others.  Who wants none says how much.
# builds: both
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
export MOONPOOL_HOST=

logged() { grep -qE -- "$1" "$work/log"; }
function_of() {
    mkdir -p "$work/f/$1"
    printf '%s\n' "${@:2}" >"$work/f/$1/function.conf"
    cat >"$work/f/$1/main.lua"
}
host() {
    : >"$work/log"
    start HOST "$BUILD/moonpool-host" --functions "$work/f" \
        --data "$work/data" --mqtt "$URL" --workers 1 2>"$work/log"
    until_true 15 logged 'host: ready' || cat "$work/log"
}
metric() {
    curl -sS --max-time 5 --unix-socket "$work/data/moonpool.sock" \
        http://moonpool/metrics | sed -n "s/^moonpool_$1 //p"
}
metric_is() { [ "$(metric "$1")" = "$2" ]; }
pub() { mosquitto_pub -p "$PORT" -q 1 -t "$1" -m "$2" "${@:3}"; }
# count WORDS N: so many lines like that were said
count() { [ "$(grep -cE -- "$1" "$work/out")" -eq "$2" ]; }
# through WORD: a message has gone its way, and all before it
through() {
    pub r/1 "$1"
    until_true 15 grep -q "take live $1\$" "$work/out"
}
listen() {
    start SUB mosquitto_sub -p "$PORT" -q 1 -i listener -c -t out >>"$work/out"
}

say='local mp = require "moonpool"
return function(e)
    mp.publish("out", mp.name .. (e.retained and " retained " or " live ") .. e.data)
end'
function_of take "[trigger in]" "mqtt = r/#" "[function]" "order = none" \
    "[grant]" "publish = out" <<<"$say"
function_of keep "[trigger in]" "mqtt = r/#" "[state]" "[grant]" \
    "publish = out" <<<"$say"

start_broker "$work/broker" "persistence true" \
    "persistence_location $work/broker/" || exit 1
listen
pub r/1 one -r
pub r/2 two -r
host
case_is "what is retained comes when it is subscribed" until_true 15 count 'take retained' 2
through first
case_is "once" count 'take retained' 2
case_is "a function with state takes none" count 'keep retained' 0
case_is "and says how many" \
    metric_is 'events_skipped_total{f="keep",t="in",reason="retained"}' 2
case_is "what comes later is not retained" until_true 10 count 'keep live first' 1

end "$HOST"
host
through second
case_is "another start does not run it again" count 'take retained' 2
end "$HOST" KILL
host
through third
case_is "nor does a start after a crash" count 'take retained' 2

end "$SUB"
end "$BROKER"
start BROKER mosquitto -c "$work/broker/mosquitto.conf" \
    >>"$work/broker/mosquitto.log" 2>&1
until_true 10 broker_is_up
listen
case_is "the broker is back" until_true 30 through fourth
case_is "nor does a broker that was away" count 'take retained' 2

function_of late "[trigger in]" "mqtt = r/+" "[function]" "order = none" \
    "[grant]" "publish = out" <<<"$say"
kill -HUP "$HOST"
case_is "a function that comes later gets what is there" \
    until_true 15 count 'late retained' 2
through fifth
case_is "and nobody else gets it again" count 'take retained' 2
case_is "it stops cleanly" end "$HOST"
[ "$CASES_FAILED" -eq 0 ] || cat "$work/out" "$work/log"
cases_end
