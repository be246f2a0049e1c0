#!/usr/bin/env bash
# reply.sh - requests by MQTT 5: a response topic gets what the function
# returned, or why there is nothing, with the correlation data of the request
# and no later than it expires; what travels with a message in and out.
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
metric() {
    curl -sS --max-time 5 --unix-socket "$work/data/moonpool.sock" \
        http://moonpool/metrics | sed -n "s/^moonpool_$1 //p"
}
metric_is() { [ "$(metric "$1")" = "$2" ]; }
value() {
    timeout 10 "$BUILD/moonpool" state get "$1" "$2" --key "$3" \
        --store "$work/data" 2>/dev/null
}
value_is() { [ "$(value "$1" "$2" "$3")" = "$4" ]; }
# ask TOPIC DATA CORRELATION [MORE...]: a request, to be answered at answer/me
ask() {
    mosquitto_pub -V 5 -p "$PORT" -q "${QOS:-1}" -t "$1" -m "$2" \
        -D publish response-topic "${TO:-answer/me}" \
        -D publish correlation-data "$3" "${@:4}"
}
# told REGEX: a message like that comes; times REGEX N: just so many came
told() { until_true 15 grep -qE -- "$1" "$work/out"; }
times() { [ "$(grep -cE -- "$1" "$work/out")" -eq "$2" ]; }
kept() { timeout 10 mosquitto_sub -p "$PORT" -t "$1" -C 1 -F '%r %x'; }
said() { grep -c 'a request gets no reply' "$work/log"; }

function_of answer "[trigger in]" "mqtt = ask/plain" "[grant]" \
    "publish = out/#" "send = sink" "[limits]" "timeout = 300ms" <<'END'
local mp = require "moonpool"
local on = {}
function on.nothing() end
function on.text() return "plain" end
function on.table() return {answer = 42} end
function on.cbor() return mp.reply(200, {1}, {format = "cbor"}) end
function on.none() return mp.reply(204) end
function on.room()
    return mp.reply(404, "no room", {headers = {["x-room"] = "4"}})
end
function on.reject() mp.reject("not a number", {status = 422}) end
function on.broken() error("it broke") end
function on.slow() while true do end end
function on.outputs()
    mp.publish("out/kept", {v = 1}, {format = "cbor", retain = true,
        expiry = "90s", properties = {room = "kitchen"}})
    mp.publish("out/bytes", "b", {qos = 0})
    mp.send("sink", "s")
    return "last"
end
function on.see(e)
    return {room = e.properties.room, left = e.expiry, trace = e.traceparent}
end
return function(e) return on[e.data](e) end
END
function_of strict "[trigger in]" "mqtt = ask/strict" "[retry]" \
    "on_failure = topic:out/dead" <<'END'
local mp = require "moonpool"
return function() mp.reject("never") end
END
function_of sink "[grant]" "publish = out/sink" <<'END'
local mp = require "moonpool"
return {send = function(e) mp.publish("out/sink", e.traceparent or "none") end}
END
function_of keeper "[trigger in]" "mqtt = ask/keep/{d}" "[state]" \
    "key = {d}" "quota = 16K" "[retry]" "attempts = 3" "backoff = 100ms" <<'END'
local mp = require "moonpool"
local on = {}
function on.count() return mp.state.increment("n") end
function on.again(e)
    if e.attempt < 3 then mp.retry("not yet", {after = 0.2}) end
    return "at " .. e.attempt
end
function on.never() mp.retry("never", {after = 0.2}) end
function on.late()
    mp.sleep(1.5)
    mp.state.increment("late")
    return "too late"
end
function on.later() mp.retry("later", {after = 2.5}) end
function on.soon(e)
    if e.attempt == 1 then mp.retry("soon", {after = 1}) end
    return "after all"
end
function on.much()
    mp.state.set("much", ("x"):rep(20000))
    return "kept"
end
return function(e) return on[e.data](e) end
END

# The two last are given in vain.
# shellcheck disable=SC2016 # it is a topic
echo '[mqtt]
reply_topics = answer/#, $SYS/#, moonpool/#' >"$work/conf"
start_broker "$work/broker" || exit 1
listen() {
    start SUB mosquitto_sub -V 5 -p "$PORT" -q 1 -t 'answer/#' -t 'out/#' \
        -t moonpool/stolen -t elsewhere \
        -F '%t D=%D C=%C q%q r%r E=%E P=%P | %p' >>"$work/out"
}
heard() {
    mosquitto_pub -p "$PORT" -t out/heard -m "$1"
    grep -q "^out/heard .*| $1\$" "$work/out"
}
# rows N: so many events wait on disk
rows() {
    [ "$(sqlite3 "$work/data/moonpool.db" 'SELECT COUNT(*) FROM queue')" = "$1" ]
}
listen
host() {
    start HOST "$BUILD/moonpool-host" --config "$work/conf" \
        --functions "$work/f" --data "$work/data" --mqtt "$URL" --workers 2 \
        2>"$work/log"
    until_true 15 logged 'host: ready' && return
    cat "$work/log"
    exit 1
}
host

# ---- what it returned ----
ask ask/plain nothing c-nothing
ask ask/plain text c-text
case_is "a string is the answer, as text" \
    told '^answer/me D=c-text C=text/plain; charset=utf-8 q1 r0 E= P=id:.*/answer/1 \| plain$'
case_is "nothing returned is no answer" times 'D=c-nothing' 0
ask ask/plain table c-table
case_is "a table is the answer, as JSON" \
    told '^answer/me D=c-table C=application/json .*\| \{"answer":42\}$'
ask ask/plain cbor c-cbor
case_is "CBOR where that is asked for" \
    told 'D=c-cbor C=application/cbor .* status:200'
ask ask/plain room c-room
case_is "mp.reply gives a status and headers, as user properties" \
    told 'D=c-room C=text/plain.* P=id:.* status:404 x-room:4 \| no room$'
ask ask/plain none c-none
case_is "and needs no payload" told 'D=c-none C= .* status:204 \| $'
QOS=0 ask ask/plain text c-zero
case_is "a request of QoS 0 gets an answer of QoS 0" told 'D=c-zero .* q0 '
TO=answer/deep/er ask ask/plain text c-deep
case_is "it goes where it was asked for" told '^answer/deep/er D=c-deep'

# ---- why there is none ----
ask ask/plain reject c-reject
case_is "who is rejected is told why" \
    told 'D=c-reject C=application/problem\+json q1 .* status:422 \| \{"title":"Unprocessable Content","status":422,"detail":"([^"]*: )?not a number"\}$'
ask ask/plain broken c-broken
case_is "an error is a problem, too" told 'D=c-broken .* status:500 .*it broke"\}$'
case_is "without its traceback" not grep -q traceback "$work/out"
ask ask/plain slow c-slow
case_is "as is one that took too long" told 'D=c-slow .* status:504 '
# Past the first ten a dead letter is only counted: then both leave at once.
for n in $(seq 1 15); do
    ask ask/strict "$n" "c-strict-$n"
done
case_is "who asked and who is told of failures are both told" \
    until_true 15 times '^out/dead ' 15
case_is "of each" until_true 15 times '^answer/me D=c-strict-.* status:400' 15

# ---- state, retries ----
ask ask/keep/a count c-one
ask ask/keep/a count c-two
case_is "a function with state answers what it keeps" told 'D=c-two .*\| 2$'
case_is "and keeps it" value_is keeper n a 2
ask ask/keep/a again c-again
case_is "a retry answers when it is over" told 'D=c-again .*\| at 3$'
case_is "and only then" times 'D=c-again' 1
ask ask/keep/a never c-never
case_is "attempts that are used up are told" told 'D=c-never .* status:500 .*never'
case_is "and that once" times 'D=c-never' 1

ask ask/keep/a much c-much
case_is "what finds no room has not happened" told 'D=c-much .* status:500 .*quota'
case_is "and only that is told" times 'D=c-much' 1

# ---- expiry ----
expired='events_dropped_total{f="keeper",t="in",reason="expired"}'
ask ask/plain see c-left -D publish message-expiry-interval 100
case_is "an event knows what is left of its expiry" \
    told 'D=c-left .*"left":(100|9[0-9])[,}]'
case_is "and its answer lives no longer" \
    grep -qE 'D=c-left .* E=(100|9[0-9]) ' "$work/out"
ask ask/keep/b late c-late -D publish message-expiry-interval 1
ask ask/keep/b count c-stale -D publish message-expiry-interval 1
ask ask/keep/b count c-after
case_is "one whose time was up before its turn is dropped" told 'D=c-after .*\| 1$'
case_is "and counted" metric_is "$expired" 1
case_is "one that took too long is done all the same" value_is keeper late b 1
ask ask/keep/c later c-later -D publish message-expiry-interval 1
case_is "no retry comes after the expiry" until_true 15 metric_is "$expired" 2
case_is "nobody waits for an answer any more" times 'D=c-(late|stale|later)' 0

# ---- what travels along ----
trace=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
ask ask/plain see c-see -D publish user-property room hall \
    -D publish user-property traceparent "$trace"
case_is "user properties and the trace are the event's" \
    told "D=c-see .*\"room\":\"hall\",\"trace\":\"$trace\""
case_is "and the trace is the answer's" \
    grep -qE "D=c-see .* traceparent:$trace" "$work/out"
ask ask/plain see c-bad -D publish user-property traceparent 00-1-2-3
case_is "what is no trace is not carried on" told 'D=c-bad .* P=id:[^ ]+ \| \{\}$'
ask ask/plain outputs c-outputs -D publish user-property id mine \
    -D publish user-property traceparent "$trace"
case_is "an output has its content type, expiry, properties, id and trace" \
    told "^out/kept D= C=application/cbor q1 r0 E=(90|8[0-9]) P=id:mine/answer/1 traceparent:$trace room:kitchen \\|"
case_is "CBOR is CBOR, and it is retained" [ "$(kept out/kept)" = "1 a1617601" ]
case_is "a string has no type of its own" \
    told '^out/bytes D= C= q0 r0 E= P=id:mine/answer/2 .*\| b$'
case_is "a send carries the trace on" \
    told "^out/sink .* traceparent:$trace \\| $trace\$"
case_is "the answer is the last of them, by its id" \
    told 'D=c-outputs .* P=id:mine/answer/4 '

# ---- where it may go ----
# shellcheck disable=SC2016 # it is a topic
TO='$SYS/stolen' ask ask/plain text c-sys
TO=moonpool/stolen ask ask/plain text c-own
TO=elsewhere ask ask/plain text c-else
TO=elsewhere ask ask/plain reject c-else
ask ask/plain text c-end
told 'D=c-end'
case_is "no answer goes to the broker, the host or off the list" \
    times 'D=c-(sys|own|else)' 0
case_is "which is said, but not each time" [ "$(said)" = 1 ]
case_is "answers are counted as outputs" \
    [ "$(metric 'outputs_total{f="answer",kind="reply"}')" -ge 14 ]

# ---- what waits on disk ----
ask ask/keep/d soon c-soon
until_true 15 logged 'soon; it will be run again'
end "$HOST" KILL
host
case_is "who asked is still known after a crash" \
    told '^answer/me D=c-soon .*\| after all$'

# Neither broker nor host lives to see the end of it.
ask ask/keep/e late c-outage
until_true 15 rows 1
end "$BROKER"
case_is "the broker is gone" until_true 15 logged "connection lost"
case_is "what it ran for is over" until_true 15 rows 0
end "$HOST" KILL
start BROKER mosquitto -c "$work/broker/mosquitto.conf" \
    >>"$work/broker/mosquitto.log" 2>&1
until_true 10 broker_is_up
end "$SUB"
listen
until_true 10 heard probe
host
case_is "an answer outlives broker and host" \
    told '^answer/me D=c-outage C=text/plain.* P=id:.*/keeper/1 \| too late$'
case_is "what it was for has happened once" value_is keeper late e 1
case_is "it stops cleanly" end "$HOST"
[ "$CASES_FAILED" -eq 0 ] || cat "$work/out" "$work/log"
cases_end
