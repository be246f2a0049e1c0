#!/usr/bin/env bash
# order.sh - what came first is run first, also when the host is killed in
# between and part of it was on disk, part only at the broker; and what the
# host has promised to run is not given up for what comes later.
# builds: release
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
    start HOST "$BUILD/moonpool-host" --config "$work/conf" \
        --functions "$work/f" --data "$work/data" --mqtt "$URL" --workers 2 \
        2>"$work/log"
    until_true 10 logged 'host: ready' || cat "$work/log"
}
pub() { mosquitto_pub -p "$PORT" -q "${3:-1}" -t "$1" -m "$2"; }
sql() { sqlite3 "$work/data/moonpool.db" "$1"; }
# rows FUNCTION N: so many rows of it wait on disk, or more
rows() { [ "$(sql "SELECT COUNT(*) FROM queue WHERE fn = '$1'")" -ge "$2" ]; }
# said TOPIC WORDS...: just that came on out/TOPIC, repeats left out
said() {
    [ "$(sed -n "s|^out/$1 ||p" "$work/out" | awk '!seen[$0]++' | xargs)" = "${*:2}" ]
}
metric() {
    curl -sS --max-time 5 --unix-socket "$work/data/moonpool.sock" \
        http://moonpool/metrics | sed -n "s/^moonpool_$1 //p"
}

# A message runs eff, and gee, which sends to eff.
function_of eff "[trigger in]" "mqtt = z/{d}" "[state]" "key = {d}" "[grant]" \
    "publish = out/#" <<'END'
local mp = require "moonpool"
local on = {}
on["in"] = function(e)
    mp.sleep(0.4)
    mp.state.increment("n")
    mp.publish("out/eff", "input")
end
function on.send()
    mp.state.increment("n")
    mp.publish("out/eff", "send")
end
return on
END
function_of gee "[trigger in]" "mqtt = z/{d}" "[grant]" "send = eff" <<'END'
local mp = require "moonpool"
return function(e) mp.send("eff", e.data, {key = e.params.d}) end
END
# A lane of its own, behind a send that found no room.
function_of lane "[trigger in]" "mqtt = lane/{d}" "lane = own" "[limits]" \
    "queue = 4" "[scale]" "max = 1" "[state]" "key = {d}" "[grant]" \
    "publish = out/#" <<'END'
local mp = require "moonpool"
local on = {}
on["in"] = function(e)
    mp.sleep(0.15)
    mp.state.increment("n")
    mp.publish("out/lane", e.data)
end
function on.send() end
return on
END
function_of filler "[trigger in]" "mqtt = filler/in" "[grant]" \
    "send = lane, slow" <<'END'
local mp = require "moonpool"
return function(e) mp.send(e.data, "", {key = "z"}) end
END
# Full of what must not be given up.
function_of slow "[trigger in]" "mqtt = slow/{d}" "[limits]" "queue = 4" \
    "[scale]" "max = 1" "[grant]" "publish = out/#" <<'END'
local mp = require "moonpool"
local on = {}
on["in"] = function(e)
    mp.sleep(0.3)
    mp.publish("out/slow", e.data)
end
function on.send() mp.publish("out/slow", "send") end
return on
END
# Its queue in memory holds more than it may have on disk.
function_of narrow "[trigger in]" "mqtt = narrow/{d}" "[scale]" "max = 1" \
    "[limits]" "queue = 100" "park_bytes = 4K" "[state]" <<'END'
local mp = require "moonpool"
return function()
    mp.sleep(0.005)
    mp.state.increment("n")
end
END
# An alarm must not ring before an input that waits on disk.
function_of dog "[trigger in]" "mqtt = dog/{d}" "[scale]" "max = 1" \
    "[state]" "key = {d}" "[limits]" "queue = 5" "[grant]" "publish = out/#" <<'END'
local mp = require "moonpool"
local on = {}
on["in"] = function(e)
    mp.alarm.set("silent", {after = 0.5})
    if e.params.d == "b" then mp.sleep(0.05) end
    if e.params.d == "a" then mp.publish("out/dog", e.data) end
end
function on.alarm(e)
    if e.key == "a" then mp.publish("out/dog", "silent") end
end
return on
END

printf '[mqtt]\nhold = 5s\n' >"$work/conf"
start_broker "$work/broker" "max_queued_messages 0" "persistence true" \
    "persistence_location $work/broker/" || exit 1
start SUB mosquitto_sub -V 5 -p "$PORT" -q 1 -c -i checker -v -t 'out/#' \
    >"$work/out"
host

pub z/a x
case_is "a send to a function that works on the same message has its row" \
    until_true 5 rows eff 1
end "$HOST" KILL
host
case_is "after a kill the input runs before the send it caused" \
    until_true 10 said eff input send

seq 1 5 | mosquitto_pub -p "$PORT" -q 1 -t lane/a -l
pub filler/in lane
case_is "a lane of its own, and a send that finds no room" \
    until_true 5 rows lane 1
seq 6 8 | mosquitto_pub -p "$PORT" -q 1 -t lane/a -l
case_is "what comes now goes to disk" until_true 5 rows lane 3
end "$HOST" KILL
host
case_is "after a kill all run in their order" \
    until_true 10 said lane 1 2 3 4 5 6 7 8

printf '[mqtt]\nhold = 50ms\n' >"$work/conf"
end "$HOST"
host
pub slow/a busy
pub filler/in slow
pub filler/in slow
pub slow/b input
case_is "rows of sends and of an input fill a queue" until_true 5 rows slow 3
for n in 1 2 3 4 5 6; do pub slow/c "flood$n" 0; done
all_ran() {
    [ "$(grep -c '^out/slow send' "$work/out")" -ge 2 ] &&
        grep -q '^out/slow input' "$work/out"
}
case_is "QoS 0 messages don't push them out" until_true 10 all_ran

printf '[mqtt]\nhold = 20s\n' >"$work/conf"
end "$HOST"
host
seq 1 104 | mosquitto_pub -p "$PORT" -q 1 -t narrow/a -l
narrow_ran() {
    local n dead
    n=$(timeout 5 "$BUILD/moonpool" state get narrow n --store "$work/data")
    [ "${n:-0}" -ge 95 ] || return 1
    dead=$(metric 'dead_letters_total{f="narrow",reason="full"}')
    [ "$((n + ${dead:-0}))" -eq 104 ]
}
case_is "where park_bytes is less than the queue, only the new ones are refused" \
    until_true 10 narrow_ran

printf '[mqtt]\nhold = 250ms\n' >"$work/conf"
end "$HOST"
host
pub dog/a first
until_true 5 said dog first
seq 1 30 | mosquitto_pub -p "$PORT" -q 1 -t dog/b -l
pub dog/a second
case_is "an alarm rings behind the inputs that were there before it" \
    until_true 10 said dog first second silent

end "$HOST"
[ "$CASES_FAILED" -eq 0 ] || cat "$work/out" "$work/log"
cases_end
