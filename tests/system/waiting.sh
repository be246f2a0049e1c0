#!/usr/bin/env bash
# waiting.sh - what waits on disk comes when there is room, in its time, and
# under the key that its function has by then.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
export MOONPOOL_HOST=

logged() { grep -qE -- "$1" "$work/log"; }
mp() { timeout 10 "$BUILD/moonpool" "$@" --store "$work/data" 2>&1; }
pub() { mosquitto_pub -p "$PORT" -q "${3:-1}" -t "$1" -m "$2"; }
came() { grep -qxF -- "$1" "$work/out"; }
times() { [ "$(grep -cxF -- "$2" "$work/out")" = "$1" ]; }
waits() { [ "$(mp queue ls --json | wc -l)" = "$1" ]; }
subscribed() { grep -qF "	$1 (QoS" "$work/broker/mosquitto.log"; }
letters() { [ "$(mp dlq ls "$1" --json | wc -l)" = "$2" ]; }

# function NAME LINE... <main.lua: a function and its function.conf
function_of() {
    mkdir -p "$work/f/$1"
    printf '%s\n' "${@:2}" >"$work/f/$1/function.conf"
    { echo 'local mp = require "moonpool"' && cat; } >"$work/f/$1/main.lua"
}
host() {
    : >"$work/log"
    start HOST "$BUILD/moonpool-host" --config "$work/c.conf" \
        --functions "$work/f" --data "$work/data" --mqtt "$URL" --workers 2 \
        2>>"$work/log"
    until_true 10 logged 'host: ready' || cat "$work/log"
}
reload() {
    : >"$work/log"
    kill -HUP "$HOST"
    until_true 10 logged 'reloaded'
}

start_broker "$work/broker" "max_queued_messages 0" "log_type all" \
    "persistence true" "persistence_location $work/broker/" || exit 1
printf '[store]\noutbox = 64K\n' >"$work/c.conf"

# ---- there is room again ----

function_of late '[limits]' 'queue = 2' '[scale]' 'max = 1' \
    '[grant]' 'publish = out/#' <<'END'
return {send = function(e)
    mp.sleep(e.data == "slow" and 0.7 or 0)
    mp.publish("out/late", e.data)
end}
END
# One that is run again in an hour ends long after it made room for others.
function_of again '[trigger in]' 'mqtt = again/in' '[limits]' 'queue = 1' \
    '[function]' 'order = overtake' '[grant]' 'publish = out/#' <<'END'
return function(e)
    if e.data == "slow" then mp.sleep(0.7) return end
    if e.data == "bad" then mp.retry("no", {after = 3600}) end
    mp.publish("out/again", e.data)
end
END
function_of src '[trigger in]' 'mqtt = src/in' '[limits]' \
    'output_bytes = 1M' '[state]' '[grant]' 'send = late' \
    'publish = out/#' <<'END'
return function(e)
    if e.data == "ripe" then
        mp.send("late", "delayed", {delay = 0.2})
        mp.send("late", "slow") mp.send("late", "b") mp.send("late", "c")
    elseif e.data == "paused" then
        mp.publish("out/big", ("x"):rep(100000))
        mp.send("late", "at pause", {delay = 0.3})
        for n = 1, 6 do mp.send("late", "spilled " .. n) end
    end
end
END
start SUB mosquitto_sub -p "$PORT" -q 1 -c -i out -v -t 'out/#' >"$work/out"
until_true 5 subscribed out/#
host
pub src/in ripe
case_is "a delayed send that comes due while its function is full is run" \
    until_true 5 came 'out/late delayed'
case_is "all others too, once" times 1 'out/late slow'
pub again/in slow 0
printf '%s\n' bad 1 2 3 | mosquitto_pub -p "$PORT" -q 1 -t again/in -l
case_is "what found no room beside a long retry is run" \
    until_true 5 came 'out/again 3'
case_is "each once" test "$(grep -c again "$work/out")" = 3
case_is "the retry waits" until_true 5 waits 1
mp queue drop again --all >/dev/null

kill -STOP "$BROKER"
mp send src --trigger in --data paused >/dev/null
case_is "while the broker hangs the outbox fills" \
    until_true 5 logged 'the outbox is full'
sleep 0.5 # the delayed send has come due
kill -CONT "$BROKER"
case_is "after it, a send that came due meanwhile is run" \
    until_true 5 came 'out/late at pause'
case_is "and what was spilled, of a function that only sends reach" \
    until_true 5 came 'out/late spilled 6'
case_is "nothing waits" until_true 5 waits 0

# ---- how old it is ----

function_of old '[trigger in]' 'mqtt = old/{d}' '[retry]' 'attempts = 100' \
    'backoff = 200ms' 'max_backoff = 200ms' '[grant]' 'publish = out/#' <<'END'
return function(e)
    if e.attempt < tonumber(e.data) then mp.retry("not yet") end
    mp.publish("out/old", "attempt " .. e.attempt)
end
END
function_of order '[trigger in]' 'mqtt = order/{d}' 'max_age = 300ms' \
    '[retry]' 'backoff = 500ms' '[grant]' 'publish = out/#' <<'END'
return function(e) error("not now") end
END
reload
until_true 5 subscribed order/+
mosquitto_pub -V 5 -p "$PORT" -q 1 -t old/a -m 14 \
    -D publish message-expiry-interval 5
pub order/a x
case_is "an order that fails is a dead letter" until_true 5 letters order 1
until_true 5 logged 'attempt=8'
kill -KILL "$HOST"
until_true 5 not runs "$HOST"
wait "$HOST" 2>/dev/null
function_of order '[trigger in]' 'mqtt = order/{d}' 'max_age = 300ms' \
    '[retry]' 'backoff = 500ms' '[grant]' 'publish = out/#' <<'END'
return function(e)
    if e.attempt == 1 then mp.retry("once more") end
    mp.publish("out/order", e.data)
end
END
host
case_is "a message's expiry counts once, over a kill of the host, too" \
    until_true 8 came 'out/old attempt 14'
case_is "a letter is replayed that is older than max_age" \
    mp dlq replay --all
case_is "it is run, and again when it wants that" \
    until_true 5 came 'out/order x'
case_is "no letter is left" letters order 0

# ---- under which key ----

keyed() {
    function_of key '[trigger in]' "mqtt = key/$1" '[scale]' 'max = 1' \
        '[limits]' 'queue = 4' '[state]' "${@:2}" '[grant]' \
        'publish = out/#' <<'END'
return function(e)
    if e.data == "busy" then mp.sleep(1.5) return end
    mp.publish("out/key", (e.key or "none") .. " " .. mp.state.increment("n")
        .. " " .. e.data)
end
END
}
keyed '{d}'
reload
until_true 5 subscribed key/+
pub key/x busy
for n in 1 2 3 4 5 6 7 8; do echo "$n"; done |
    mosquitto_pub -p "$PORT" -q 1 -t key/a -l
pub key/b 9
case_is "some wait in memory, some on disk" until_true 5 waits 10
keyed '{d}' 'key = {d}'
reload
pub key/a 10
case_is "what waited is run under the key that came with a reload" \
    until_true 8 came 'out/key a 9 10'
case_is "in order" test \
    "$(grep 'key a' "$work/out" | cut -d' ' -f4 | tr '\n' ' ')" = \
    '1 2 3 4 5 6 7 8 10 '
case_is "another one under its own" came 'out/key b 1 9'

pub key/c busy
pub key/c 11 0 # in memory only
sleep 0.3
keyed '{other}' 'key = {other}'
reload
case_is "a key that can't be made any more drops what is in memory only" \
    until_true 5 logged 'dropped: no_key'
pub key/c 12
case_is "what is new goes on" until_true 5 came 'out/key c 1 12'
pub key/c busy
for n in 1 2 3 4 5 6 7 8; do echo "$n"; done |
    mosquitto_pub -p "$PORT" -q 1 -t key/c -l
case_is "some are on disk again" until_true 5 waits 9 # one is at work
keyed '{d}' 'key = {d}'
reload
case_is "of rows it makes dead letters" until_true 5 letters key 8
says_why() { mp dlq ls key | grep -q "can't be made"; }
case_is "which say why" says_why
case_is "nothing waits" until_true 5 waits 0
end "$HOST"
cases_end
