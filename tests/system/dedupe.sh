#!/usr/bin/env bash
# dedupe.sh - a sender that repeats an event with its id is counted once,
# whatever happened to the first one meanwhile.
# builds: release
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
export MOONPOOL_HOST=

logged() { grep -qE "$1" "$work/log"; }
# function_of NAME CONF-LINES...; its main.lua from stdin
function_of() {
    mkdir -p "$work/f/$1"
    printf '%s\n' "${@:2}" >"$work/f/$1/function.conf"
    cat >"$work/f/$1/main.lua"
}
host() {
    : >"$work/log"
    start HOST "$BUILD/moonpool-host" --config "$work/conf" \
        --functions "$work/f" --data "$work/data" --mqtt "$URL" --workers 2 \
        2>"$work/log"
    until_true 10 logged 'host: ready' || cat "$work/log"
}
# pub TOPIC ID [DATA]
pub() {
    mosquitto_pub -V 5 -p "$PORT" -q 1 -t "$1" -m "${3:-0}" \
        -D publish user-property id "$2"
}
# value_is FUNCTION KEY NAME VALUE
value_is() {
    [ "$("$BUILD/moonpool" state get "$1" "$3" --key "$2" \
        --store "$work/data" 2>&1)" = "$4" ]
}
counts() { until_true 15 value_is count "$1" n "$2"; }
got() { [ "$(grep -cx "$1" "$work/out")" -eq "$2" ]; }
got_more() { [ "$(grep -cx "$1" "$work/out")" -ge "$2" ]; }
parked() {
    [ "$("$BUILD/moonpool" queue ls "$1" --json --store "$work/data" |
        wc -l)" -ge "$2" ]
}

# Counts, after as many seconds as the data says.
function_of count "[trigger in]" "mqtt = count/{d}" "dedupe = 1h" \
    "[state]" "key = {d}" <<'END'
local mp = require "moonpool"
return function(e)
    mp.sleep(tonumber(e.data))
    mp.state.increment("n")
end
END
function_of brief "[trigger in]" "mqtt = brief/{d}" "dedupe = 1s" \
    "[state]" "key = {d}" <<'END'
return function() require "moonpool".state.increment("n") end
END
# No order holds a repeat back until the first one is done.
function_of free "[function]" "order = none" "[trigger in]" \
    "mqtt = free/in" "dedupe = 1h" "[grant]" "publish = out/#" <<'END'
local mp = require "moonpool"
return function(e)
    mp.sleep(tonumber(e.data))
    mp.publish("out/free", e.id)
end
END
# The first attempt fails; a repeat overtakes it.
function_of again "[function]" "order = overtake" "[trigger in]" \
    "mqtt = again/{d}" "dedupe = 1h" "[state]" "key = {d}" "[retry]" \
    "backoff = 400ms" <<'END'
local mp = require "moonpool"
return function(e)
    if e.data == "fail" and e.attempt == 1 then mp.retry("not now") end
    mp.state.increment("n")
end
END
# Fails for good, unless the data says otherwise.
function_of picky "[trigger in]" "mqtt = picky/{d}" "dedupe = 1h" "[state]" \
    "key = {d}" <<'END'
local mp = require "moonpool"
return function(e)
    if e.data == "bad" then mp.reject("bad") end
    mp.state.increment("n")
end
END
printf '[mqtt]\nhold = 100ms\n' >"$work/conf"

start_broker "$work/broker" "max_queued_messages 0" || exit 1
host
start SUB mosquitto_sub -p "$PORT" -q 1 -c -i checker -v -t 'out/#' \
    >"$work/out"

# Events of one actor run in order: when the marker is counted, all before it
# were counted or skipped.
pub brief/a x
pub count/a x
pub count/a x
pub count/a marker
case_is "an id that came before is not counted again" counts a 2
pub count/a other
case_is "another id is" counts a 3
pub count/b x

pub count/work w 0.08
pub count/work w 0.08
pub count/work w-marker
case_is "nor while the first one is in work" counts work 2

pub count/slow s 0.4
pub count/slow s 0.4
pub count/slow s-marker
case_is "nor when it was parked" counts slow 2

pub free/in f1 0.05
PUBS=()
for n in 1 2 3; do
    pub free/in f2 0.3 &
    PUBS+=("$!")
done
wait "${PUBS[@]}"
until_true 5 got_more 'out/free f1' 1
until_true 5 got_more 'out/free f2' 1
sleep 0.5
case_is "nor where events have no order and run side by side" \
    got 'out/free f2' 1

pub again/a r fail
pub again/a r
case_is "a repeat may overtake the first one that waits for another try" \
    until_true 5 value_is again a n 1
sleep 0.6
pub again/a r-marker
case_is "which is not counted then" until_true 5 value_is again a n 2

pub picky/a p bad
pub picky/a p good
case_is "what was refused was not applied: its repeat counts" \
    until_true 5 value_is picky a n 1
pub picky/a p good
pub picky/a p-marker
case_is "once" until_true 5 value_is picky a n 2

pub brief/a x
pub brief/a brief-marker
case_is "an id is forgotten when the time of dedupe is over" \
    until_true 5 value_is brief a n 3

# Killed while one is parked and in work.
pub count/killed k 2
case_is "one that takes longer than hold is parked" \
    until_true 5 parked count 1
pub count/killed k 2
end "$HOST" KILL
pub count/killed k 2
pub count/killed k-marker
host
case_is "parked and killed it is counted once, with three repeats" \
    counts killed 2
pub count/killed k
pub count/killed k-marker
pub count/killed k-marker-2
case_is "and not later either" counts killed 3
pub count/a x
pub count/a a-marker-2
case_is "SIGKILL forgets no id" counts a 4

# Killed again and again, the sender repeats until it is through.
for n in 1 2 3; do
    for id in 1 2 3 4 5 6 7 8; do pub count/burst "burst-$id" 0.01; done
    [ "$n" = 3 ] || { end "$HOST" KILL; host; }
done
pub count/burst burst-marker
case_is "a burst that is sent three times over two kills counts once" \
    counts burst 9

end "$HOST"
host
pub count/a x
pub count/a a-marker-3
case_is "nor does an end in peace" counts a 5
skipped() {
    curl -sS --unix-socket "$work/data/moonpool.sock" http://moonpool/metrics |
        grep -q 'events_skipped_total{f="count",t="in",reason="duplicate"} 1$'
}
case_is "what was skipped is counted" until_true 5 skipped
end "$HOST"
[ "$CASES_FAILED" -eq 0 ] || cat "$work/log"
cases_end
