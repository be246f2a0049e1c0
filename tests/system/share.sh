#!/usr/bin/env bash
# share.sh - two hosts split one stream by a shared subscription: each message
# runs on one of them.  When one dies nothing is lost, but nobody takes over
# what is its: mosquitto 2.0.11 keeps what it had in its hands, and goes on
# giving it its turn (up to max_queued_messages; then it drops them), until it
# is back.
# builds: both
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
export MOONPOOL_HOST=

FIRST=300 ALL=900

function_of() {
    mkdir -p "$work/f/$1"
    printf '%s\n' "${@:2}" >"$work/f/$1/function.conf"
    cat >"$work/f/$1/main.lua"
}
# host NAME VAR: a host with a directory and an id of its own
host() {
    printf '[node]\nname = %s\n[mqtt]\nclient_id = %s\n' "$1" "$1" \
        >"$work/$1.conf"
    : >"$work/$1.log"
    start "$2" "$BUILD/moonpool-host" --config "$work/$1.conf" \
        --functions "$work/f" --data "$work/$1" --mqtt "$URL" --workers 1 \
        2>"$work/$1.log"
    until_true 15 grep -q 'host: ready' "$work/$1.log" || cat "$work/$1.log"
}
# What each has counted, exactly; what it has said, maybe twice.
counted() {
    local n
    n=$(timeout 10 "$BUILD/moonpool" state get count n --store "$work/$1" \
        2>/dev/null)
    echo "${n:-0}"
}
both_counted() { [ "$(($(counted a) + $(counted b)))" -ge "$1" ]; }
said_by() { grep -c "^$1 " "$work/out"; }
said_by_at_least() { [ "$(said_by "$1")" -ge "$2" ]; }
ids_are() {
    [ "$(sed -n 's/.* id:\([^ ]*\)$/\1/p' "$work/out" | sort -u | wc -l)" -eq "$1" ]
}
# Of those that come while the other one is dead.
later() { grep -c '^a 10[0-4][0-9] ' "$work/out"; }
later_are() { [ "$(later)" -ge "$1" ]; }
all_said() { [ "$(cut -d' ' -f2 "$work/out" | sort -u | wc -l)" -eq "$1" ]; }
stream() { seq "$1" "$2" | mosquitto_pub -p "$PORT" -q 1 -l -t stream/in; }

function_of tell "[trigger in]" "mqtt = stream/#" "share = gateways" \
    "[function]" "order = none" "[grant]" "publish = out" <<'END'
local mp = require "moonpool"
return function(e) mp.publish("out", mp.node .. " " .. e.data) end
END
function_of count "[trigger in]" "mqtt = stream/#" "share = gateways" \
    "[state]" <<'END'
local mp = require "moonpool"
return function() mp.state.increment("n") end
END

start_broker "$work/broker" || exit 1
start SUB mosquitto_sub -V 5 -p "$PORT" -q 1 -t out -F '%p %P' >"$work/out"
host a A
host b B

stream 1 "$FIRST"
case_is "all of it is run, on one or the other" until_true 20 all_said "$FIRST"
until_true 20 both_counted "$FIRST"
case_is "each message once" [ "$(wc -l <"$work/out")" = "$FIRST" ]
case_is "and counted once" [ "$(($(counted a) + $(counted b)))" = "$FIRST" ]
case_is "one has its part" [ "$(said_by a)" -gt $((FIRST / 4)) ]
case_is "and the other one has its" [ "$(said_by b)" -gt $((FIRST / 4)) ]

# It dies with messages in its hands, in the middle of what comes.
had=$(said_by b)
(
    for ((at = FIRST; at < ALL; at += 20)); do
        seq $((at + 1)) $((at + 20))
        sleep 0.02
    done
) | mosquitto_pub -p "$PORT" -q 1 -l -t stream/in &
pub=$!
until_true 20 said_by_at_least b $((had + 20))
end "$B" KILL
wait "$pub"
stream 1001 1040
case_is "the other one goes on with its own" until_true 20 later_are 20
case_is "and with no more than that" [ "$(later)" = 20 ]
host b B
case_is "nothing is lost: what was the dead one's comes when it is back" \
    until_true 30 all_said $((ALL + 40))
case_is "once, by the ids" until_true 5 ids_are $((ALL + 40))
case_is "all is counted" until_true 20 both_counted $((ALL + 40))
case_is "one stops cleanly" end "$A"
case_is "and the other one" end "$B"
case_is "exactly once" [ "$(($(counted a) + $(counted b)))" = $((ALL + 40)) ]
[ "$CASES_FAILED" -eq 0 ] || {
    cut -d' ' -f1 "$work/out" | sort | uniq -c
    tail -50 "$work/a.log" "$work/b.log"
    wc -l "$work/out"
    echo "counted a $(counted a) b $(counted b)"
}
cases_end
