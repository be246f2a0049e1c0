#!/usr/bin/env bash
# durable.sh - what a function leaves for later comes, also when the host is
# killed in between: retries, alarms, sends; and what is given up is kept.
# builds: release
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
export MOONPOOL_HOST=

logged() { grep -qE -- "$1" "$work/log"; }
# function_of NAME CONF-LINES...; its main.lua from stdin
function_of() {
    mkdir -p "$work/f/$1"
    printf '%s\n' "${@:2}" >"$work/f/$1/function.conf"
    cat >"$work/f/$1/main.lua"
}
host() {
    : >"$work/log"
    start HOST "$BUILD/moonpool-host" --functions "$work/f" \
        --data "$work/data" --mqtt "$URL" --workers 2 2>"$work/log"
    until_true 10 logged 'host: ready' || cat "$work/log"
}
pub() { mosquitto_pub -p "$PORT" -q 1 -t "$1" -m "${2:-x}"; }
mp() { timeout 10 "$BUILD/moonpool" "$@" --store "$work/data"; }
# How often did that line come out?
times() { grep -cxF -- "$1" "$work/out"; }
came() { [ "$(times "$1")" -ge 1 ]; }
comes() { until_true "${2:-8}" came "$1"; }
once() { [ "$(times "$1")" -eq 1 ]; }
never() { [ "$(times "$1")" -eq 0 ]; }
# Did A come out before B?
before() {
    [ "$(grep -nxF -- "$1" "$work/out" | head -n 1 | cut -d: -f1)" -lt \
        "$(grep -nxF -- "$2" "$work/out" | head -n 1 | cut -d: -f1)" ]
}
value_is() { [ "$(mp state get "$1" "$3" --key "$2" 2>&1)" = "$4" ]; }
letters() { [ "$(mp dlq ls "$1" --json | wc -l)" -eq "$2" ]; }
waiting() { [ "$(mp queue ls "$1" --json | wc -l)" -eq "$2" ]; }

# ---- functions ----

AGAIN='local mp = require "moonpool"
return function(e)
    if e.data == "retry" and e.attempt < 3 then mp.retry("not yet") end
    if e.data == "error" then
        mp.state.get("n")
        if e.attempt < 3 then error("no") end
    end
    if e.data == "long" and e.attempt < 3 then
        mp.retry("later", {after = 0.7})
    end
    if e.data == "never" then mp.state.set("n", 1) mp.retry("never") end
    mp.publish("out/" .. mp.name .. "/" .. e.params.d,
               e.data .. " " .. e.attempt)
end'
function_of strict "[trigger in]" "mqtt = strict/{d}" "[state]" \
    "key = {d}" "[grant]" "publish = out/#" "[retry]" "attempts = 3" \
    "backoff = 100ms" <<<"$AGAIN"
function_of loose "[function]" "order = overtake" "[trigger in]" \
    "mqtt = loose/{d}" "[state]" "key = {d}" "[grant]" "publish = out/#" \
    "[retry]" "attempts = 3" "backoff = 100ms" <<<"$AGAIN"

function_of bad "[trigger in]" "mqtt = bad/in" "[retry]" \
    "on_failure = topic:out/dead" "[breaker]" "failures = 100000" \
    "[log]" "rate = 1000/s" <<'END'
return function(e) error("no number: " .. e.data) end
END
function_of told "[trigger in]" "mqtt = told/in" "[retry]" \
    "on_failure = function:undertaker" <<'END'
return function(e) error("no: " .. e.data) end
END
function_of undertaker "[grant]" "publish = out/#" <<'END'
local mp, json = require "moonpool", require "json"
return {send = function(e)
    local letter = json.decode(e.data)
    mp.publish("out/undertaker", letter["function"] .. " " .. letter.outcome ..
               " " .. letter.event.data .. " " .. letter.attempts)
end}
END

# data: what to do, when, slack, and what the alarm shall say
function_of clock "[trigger in]" "mqtt = clock/{d}" "[state]" "key = {d}" \
    "[grant]" "publish = out/#" <<'END'
local mp = require "moonpool"
local on = {}
on["in"] = function(e)
    local what, when, slack, data = e.data:match("(%S+) (%S+) (%S+) (%S+)")
    if what == "after" then
        mp.alarm.set("bell", {after = tonumber(when),
                              slack = tonumber(slack), data = data})
    elseif what == "at" then
        mp.alarm.set("bell", {at = mp.now() + tonumber(when), data = data})
    else
        mp.alarm.cancel("bell")
    end
    mp.publish("out/set/" .. e.params.d, data)
end
function on.alarm(e)
    mp.state.increment("rung")
    mp.publish("out/bell/" .. e.key, e.data .. " " .. e.alarm .. " " ..
               e.params.d)
end
return on
END

# data: the receiver and the delay
function_of sender "[trigger in]" "mqtt = sender/{word}" "[grant]" \
    "publish = out/#" "send = late, absent, only" <<'END'
local mp = require "moonpool"
return function(e)
    local to, delay = e.data:match("(%S+) (%S+)")
    mp.send(to, e.params.word, {delay = tonumber(delay)})
    mp.publish("out/sent", e.params.word)
end
END
LATE='local mp = require "moonpool"
return {send = function(e) mp.publish("out/" .. mp.name, e.data) end}'
function_of late "[grant]" "publish = out/#" <<<"$LATE"
function_of total "[trigger in]" "mqtt = total/in" "[state]" <<'END'
local mp = require "moonpool"
return function()
    mp.sleep(0.005)
    mp.state.increment("n")
end
END
SLEEPER='local mp = require "moonpool"
return function(e)
    mp.log.info("asleep: " .. e.data)
    mp.sleep(tonumber(e.params.s))
    mp.publish("out/sleeper", e.data)
end'
sleeper() {
    function_of sleeper "[trigger in]" "mqtt = sleeper/{s}" "[limits]" \
        "timeout = 60s" "cpu = 300ms" "[grant]" "publish = out/#"
}
sleeper <<<"$SLEEPER"
function_of busy "[trigger in]" "mqtt = busy/in" "[limits]" "cpu = 200ms" \
    "timeout = 10s" <<<'return function() while true do end end'
function_of dozy "[trigger in]" "mqtt = dozy/in" "[limits]" "timeout = 300ms" \
    "[retry]" "attempts = 1" \
    <<<'return function() require "moonpool".sleep(5) end'
# Reached by sends and its own alarms only.
function_of only "[state]" "[grant]" "publish = out/#" <<'END'
local mp = require "moonpool"
return {
    send = function(e)
        mp.alarm.set("soon", {after = 0.3, data = e.data})
        mp.publish("out/only", "sent " .. e.data)
    end,
    alarm = function(e) mp.publish("out/only", "alarm " .. e.data) end,
}
END

start_broker "$work/broker" "max_queued_messages 0" || exit 1
start SUB mosquitto_sub -p "$PORT" -q 1 -c -i checker -v -t 'out/#' \
    >"$work/out"
host

# ---- alarms and sends that outlive a kill are set first ----

pub clock/after "after 1.2 0 first"
pub clock/moved "after 0.2 0 early"
pub clock/moved "after 1.2 0 moved"
pub clock/gone "after 0.6 0 wrong"
pub clock/gone "cancel 0 0 cancelled"
pub clock/slack "after 0.7 0 stays"
pub clock/slack "after 1.1 5 slid"
pub clock/at "at 1.2 0 time"
pub clock/passed "at -100 0 past"
pub sender/delayed "late 1.2"
pub sender/patient "absent 0"
pub sender/behind "absent 0.1"
pub strict/long long
pub strict/long next
pub loose/long long
pub loose/long next
case_is "what is overtaken lets the next one go" comes "out/loose/long next 1"
comes "out/set/passed past" && comes "out/sent behind" &&
    comes "out/set/slack slid" && comes "out/set/moved moved" &&
    comes "out/set/at time" && comes "out/sent delayed"
case_is "an alarm at a time that is over comes at once" \
    comes "out/bell/passed past bell passed"
until_true 5 logged 'strict@.*later; it will be run again'
end "$HOST" KILL
host
case_is "a retry waits on after SIGKILL, its attempts counted" \
    comes "out/strict/long long 3"
case_is "and holds its key" comes "out/strict/long next 1"
case_is "so that order is kept" \
    before "out/strict/long long 3" "out/strict/long next 1"
case_is "one that may be overtaken comes as well" comes "out/loose/long long 3"
case_is "after the one that overtook it" \
    before "out/loose/long next 1" "out/loose/long long 3"
case_is "an alarm survives SIGKILL" comes "out/bell/after first bell after"
case_is "a moved one is where it was moved to" \
    comes "out/bell/moved moved bell moved"
case_is "and not where it was" never "out/bell/moved early bell moved"
case_is "one within its slack stayed as it was" \
    comes "out/bell/slack stays bell slack"
case_is "and did not come again" never "out/bell/slack slid bell slack"
case_is "one at a time of day comes" comes "out/bell/at time bell at"
case_is "one that was cancelled does not" never "out/bell/gone wrong bell gone"
case_is "a send with a delay survives SIGKILL" comes "out/late delayed"
rung() { value_is clock after rung 1 && value_is clock moved rung 1; }
case_is "each rang once" until_true 3 rung
case_is "a send to what is not installed waits" until_true 3 waiting absent 2
function_of absent "[grant]" "publish = out/#" <<<"$LATE"
kill -HUP "$HOST"
case_is "until it is there" comes "out/absent patient"
case_is "also with a delay" comes "out/absent behind"
case_is "and nothing waits then" until_true 3 waiting absent 0

# ---- retries in one life ----

pub strict/a retry
pub strict/a next
pub loose/a retry
pub loose/a next
pub strict/b error
case_is "mp.retry is run again" comes "out/strict/a retry 3"
case_is "an error after reading state as well" comes "out/strict/b error 3"
comes "out/strict/a next 1"
case_is "others of its key wait" \
    before "out/strict/a retry 3" "out/strict/a next 1"
comes "out/loose/a retry 3"
case_is "or overtake it, where that is asked for" \
    before "out/loose/a next 1" "out/loose/a retry 3"

mp send loose --key z --data retry --wait >"$work/sent" 2>&1
case_is "who waits for an outcome is told that it is tried again" \
    grep -qE '^retry +attempt 1 of 3; it is run again in 0.1 s' "$work/sent"

# ---- dead letters ----

pub strict/c never
case_is "after its attempts it is a dead letter" until_true 5 letters strict 1
id=$(mp dlq ls strict --json | sed 's/.*"id":\([0-9]*\).*/\1/')
mp dlq show "$id" --json >"$work/letter"
case_is "with what came" grep -qF '"data":"never"' "$work/letter"
case_is "nothing of it was applied" \
    [ -z "$(mp state ls strict --key c 2>/dev/null)" ]
pub strict/c after
case_is "and its key is free" comes "out/strict/c after 1"

for ((n = 1; n <= 100; n++)); do echo "$n"; done |
    mosquitto_pub -p "$PORT" -q 1 -t bad/in -l
dead() { [ "$(grep -c '^out/dead ' "$work/out")" -eq "$1" ]; }
case_is "on_failure = topic: is told each of 100 failures" until_true 8 dead 100
case_is "of which eleven are kept" until_true 5 letters bad 11
errors() { mp dlq ls bad --json | sed 's/.*no number: \([0-9]*\).*/\1/'; }
case_is "the first ten and the last one" \
    [ "$(errors | sort -n | tr '\n' ' ')" = "1 2 3 4 5 6 7 8 9 10 100 " ]
case_is "and the others are counted" grep -qw "89 more" <<<"$(mp dlq ls bad 2>&1)"
pub told/in hm
case_is "on_failure = function: is sent it" \
    comes "out/undertaker told error hm 1"
end "$HOST" KILL

# Killed, mended, run again.
function_of strict "[trigger in]" "mqtt = strict/{d}" "[state]" \
    "key = {d}" "[grant]" "publish = out/#" <<'END'
local mp = require "moonpool"
return function(e)
    mp.publish("out/strict", e.data .. " " .. mp.state.increment("runs"))
end
END
host
case_is "dead letters survive SIGKILL" letters bad 11
case_is "replayed it runs" mp dlq replay "$id"
case_is "with what was mended" comes "out/strict never 1"
case_is "for its actor" until_true 3 value_is strict c runs 1
case_is "and is no letter any more" until_true 3 letters strict 0

# ---- a function goes and comes back ----

pub sender/gone-1 "late 0.3"
pub sender/gone-2 "late 0.4"
comes "out/sent gone-2"
mv "$work/f/late" "$work/late"
kill -HUP "$HOST"
until_true 5 logged 'late.*removed' || sleep 0.3
pub sender/gone-3 "late 0"
comes "out/sent gone-3"
sleep 0.4
case_is "what waits for a function that is gone stays" \
    until_true 3 waiting late 3
end "$HOST" KILL
host
case_is "over a kill" waiting late 3
mv "$work/late" "$work/f/late"
kill -HUP "$HOST"
case_is "and runs when it is back" comes "out/late gone-1"
comes "out/late gone-2"
case_is "all of it" comes "out/late gone-3"

# ---- a clean stop ----

for ((n = 1; n <= 300; n++)); do echo "$n"; done |
    mosquitto_pub -p "$PORT" -q 1 -t total/in -l &
PUB=$!
sleep 0.4
end "$HOST"
case_is "SIGTERM in the middle of a burst ends well" [ $? -eq 0 ]
case_is "and says that nothing is lost" not logged lost
n=$(mp state get total n)
case_is "it was in the middle" [ "${n:-300}" -lt 300 ]
wait "$PUB"
host
counted() { [ "$(mp state get total n)" = "$1" ]; }
case_is "no event is lost by it, none counted twice" until_true 10 counted 300

# What sleeps has done nothing yet, and comes again.
pub sleeper/50 parked
case_is "what sleeps is parked" until_true 5 waiting sleeper 1
pub sleeper/51 unacked
until_true 5 logged 'asleep: unacked'
began=${EPOCHREALTIME/./}
end "$HOST"
ms=$(((${EPOCHREALTIME/./} - began) / 1000))
case_is "a stop waits for no sleep that comes again ($ms ms)" [ "$ms" -lt 1000 ]
sleeper <<<"${SLEEPER/tonumber(e.params.s)/0}"
host
case_is "it does, from its row" comes "out/sleeper parked"
case_is "and from the broker" comes "out/sleeper unacked"
sleeper <<<"$SLEEPER"
kill -HUP "$HOST"
until_true 5 logged 'sleeper: replaced'
mosquitto_pub -p "$PORT" -q 0 -t sleeper/0.8 -m fleeting
until_true 5 logged 'asleep: fleeting'
end "$HOST"
case_is "what nobody else has is finished first" comes "out/sleeper fleeting"
case_is "each of them once" [ "$(grep -c '^out/sleeper ' "$work/out")" -eq 3 ]
host

# ---- limits ----

pub busy/in
case_is "a run that computes too long is told so" \
    until_true 5 logged 'timeout: ran longer than limits.cpu \(200ms\).*topic=busy/in'
pub dozy/in
case_is "one that takes too long as well" until_true 5 \
    logged 'timeout: limits.timeout \(300ms\) passed while it was waiting'
mp send busy --data x >/dev/null
case_is "without a topic, none is said" until_true 5 \
    logged 'busy@.*limits.cpu.*attempt=1 dead_letter=[0-9]*( traceback=.*)?$'

# ---- nothing left but a function without a trigger ----

pub sender/first "only 0"
case_is "a function may be reached by sends alone" comes "out/only sent first"
case_is "and by its alarms" comes "out/only alarm first"
pub sender/second "only 0"
pub sender/third "only 0.8"
comes "out/sent third"
comes "out/only sent second"
end "$HOST"
for gone in "$work"/f/*; do
    [ "${gone##*/}" = only ] || rm -r "$gone"
done
host
case_is "alone after a restart its alarm comes" comes "out/only alarm second"
case_is "and what was sent with a delay" comes "out/only sent third"
case_is "as does what it sets then" comes "out/only alarm third"
end "$HOST"
case_is "alarms and sends came once" once "out/late delayed"
case_is "each of them" once "out/only alarm third"
[ "$CASES_FAILED" -eq 0 ] || { cat "$work/log"; sort "$work/out"; }
cases_end
