#!/usr/bin/env bash
# long
# clock.sh - a real host whose clock is set under its feet: no clock at all,
# both changes of summer time, hours forward and back.  Time goes ten times
# as fast (tests/fault/faketime.c), the wall clock is what the script says.
# builds: release
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
export MOONPOOL_HOST=
faked=(env LD_PRELOAD="$(realpath "$BUILD")/faketime.so"
    FAKETIME_FILE="$work/offset" FAKETIME_SPEED=10)

# ---- the clock ----

offset=0
printf '%016x\n' 0 >"$work/offset"
# clock_to "YYYY-MM-DD HH:MM:SS" (UTC).  The file must never be shorter.
clock_to() {
    local to now
    to=$(date -u -d "$1 UTC" +%s)
    now=$("${faked[@]}" date +%s%N)
    offset=$((offset + to * 1000000000 - now))
    printf '%016x\n' "$offset" 1<>"$work/offset"
}

# ---- what runs ----

# Delays are made of the node's name.
printf '[node]\nname = store-17\n' >"$work/moonpool.conf"
logged() { grep -qE -- "$1" "$work/log"; }
host() {
    : >"$work/log"
    start HOST "${faked[@]}" "$BUILD/moonpool-host" --functions "$work/f" \
        --config "$work/moonpool.conf" --data "$work/data" --mqtt "$URL" \
        --workers 1 2>"$work/log"
    until_true 15 logged 'host: ready' || cat "$work/log"
}
function_of() {
    mkdir -p "$work/f/$1"
    printf '%s\n' "${@:2}" "[limits]" "timeout = 1m" >"$work/f/$1/function.conf"
    cat >"$work/f/$1/main.lua"
}
# timers NAME LINE...: each run is told as ran/TRIGGER WHEN missed=N late=S.
timers() {
    function_of "$@" "[grant]" "publish = ran/#" <<'END'
local mp = require "moonpool"
return function(e)
    mp.publish("ran/" .. e.trigger, ("%s missed=%d late=%.0f clock=%s"):format(
        os.date("!%FT%TZ", e.scheduled), e.missed, mp.now() - e.scheduled,
        mp.clock_ok()))
end
END
}
told() { grep -qE -- "^$1" "$work/told"; }
ran() { grep -c -- "^ran/$1 " "$work/told"; }
ran_times() { [ "$(ran "$1")" -ge "$2" ]; }
# Longer than it takes to look at the wall clock again (30 s).
let_pass() { until_true 60 ran_times beat "$(($(ran beat) + 4))"; }
say() { mosquitto_pub -p "$PORT" -q 1 -t "$1" -m "$2"; }
# ran_only TRIGGER WHEN: told once, and nothing later.
ran_only() {
    [ "$(grep -c -- "^ran/$1 $2" "$work/told")" = 1 ] &&
        grep "^ran/$1 " "$work/told" | tail -1 | grep -q -- "$2"
}

timers beat "[trigger beat]" "every = 10s" \
    "[trigger once]" "every = 1h" "at_start = yes"
timers noon "[function]" "timezone = UTC" "[trigger noon]" "cron = 0 12 * * *"
timers paris "[function]" "timezone = Europe/Paris" \
    "[trigger night]" "cron = 30 2 * * *"
cp -r examples/energy-report "$work/f"

start_broker "$work/broker" || exit 1
start SUB mosquitto_sub -p "$PORT" -v -t 'ran/#' -t 'probe/#' -t 'delay/#' \
    -t 'reports/#' \
    >>"$work/told"
until_true 10 grep -q "Sending SUBACK" "$work/broker/mosquitto.log"

# ---- no clock at all ----

clock_to "1970-01-01 00:10:00"
host
case_is "a clock of 1970 is told" logged 'host: the clock is not set'
case_is "and what waits for it is named" \
    logged 'waits for a clock that can be trusted trigger=timer/noon/noon'
case_is "without a clock, every runs" until_true 30 ran_times beat 3
case_is "so does what runs at start" ran_times once 1
case_is "and knows that the clock is none" told "ran/beat 1970.* clock=false"
clock_to "1970-01-01 12:00:05"
let_pass
case_is "cron does not run by it" not ran_times noon 1
clock_to "2027-03-20 11:59:50"
case_is "once the clock is set, it does" \
    until_true 9 told "ran/noon 2027-03-20T12:00:00Z missed=0 .* clock=true"
case_is "and that is told" logged 'host: the clock is trusted now'
case_is "what runs every hour did not run for the jump" \
    [ "$(ran once)" = 1 ]

# ---- both changes of summer time ----

say meters/shop/energy '{"kwh":1000}'
clock_to "2027-03-27 23:04:50"
case_is "a day ends at midnight in Paris" until_true 9 told \
    'reports/energy/2027-03-27 \{"day":"2027-03-27","kwh":\{"shop":0\}\}'
say meters/shop/energy '{"kwh":1031.5}'
clock_to "2027-03-28 00:59:50"
case_is "a local time that clocks skip runs right after the gap" \
    until_true 9 told "ran/night 2027-03-28T01:00:00Z missed=7 "
clock_to "2027-03-28 01:30:05"
let_pass
case_is "and then no more" ran_only night 2027-03-28T01:00:00Z
clock_to "2027-03-28 22:04:50"
case_is "this one was an hour short, and ends at midnight" until_true 9 told \
    'reports/energy/2027-03-28 \{"day":"2027-03-28","kwh":\{"shop":31.5\}\}'
clock_to "1970-01-01 00:10:00"
case_is "a clock that gets lost is told, too" \
    until_true 9 logged 'the clock is below what it was: it is not trusted'
clock_to "2027-10-31 00:29:50"
case_is "a doubled local time runs at the first" \
    until_true 9 told "ran/night 2027-10-31T00:30:00Z missed=216 "
clock_to "2027-10-31 01:30:05"
let_pass
case_is "and not at the second" ran_only night 2027-10-31T00:30:00Z
clock_to "2027-11-01 01:29:50"
case_is "the next day it is at its time" \
    until_true 9 told "ran/night 2027-11-01T01:30:00Z missed=0 "

# ---- forward and back ----

clock_to "2028-01-10 06:59:30"
timers hours "[function]" "timezone = UTC" \
    "[trigger skip]" "cron = 0 * * * *" \
    "[trigger one]" "cron = 0 * * * *" "missed = once" \
    "[trigger all]" "cron = 0 * * * *" "missed = all"
kill -HUP "$HOST"
until_true 10 logged "host: reloaded" || cat "$work/log"
# all_at WHEN: each of the three ran then, last.
all_at() { ran_only skip "$1" && ran_only one "$1" && ran_only all "$1"; }
kept_at() { ran_only one "$1" && ran_only all "$1"; }
case_is "three triggers run at the hour" \
    until_true 9 all_at 2028-01-10T07:00:00Z
clock_to "2028-01-10 10:30:00"
case_is "over three hours jumped: once runs once" \
    until_true 9 told "ran/one 2028-01-10T10:00:00Z missed=2 "
case_is "all runs three times" until_true 9 ran_times all 4
case_is "in order" [ "$(grep -E '^ran/all' "$work/told" | tail -3 |
    cut -d' ' -f2 | tr '\n' ' ')" = \
    "2028-01-10T08:00:00Z 2028-01-10T09:00:00Z 2028-01-10T10:00:00Z " ]
case_is "and skip does not" ran_only skip 2028-01-10T07:00:00Z
clock_to "2028-01-10 10:59:50"
case_is "the next hour is one for all" \
    until_true 9 all_at 2028-01-10T11:00:00Z
case_is "skip is told what fell out" \
    told "ran/skip 2028-01-10T11:00:00Z missed=3 "
clock_to "2028-01-10 09:00:05"
let_pass
case_is "three hours back, nothing runs twice" all_at 2028-01-10T11:00:00Z
end "$HOST"
clock_to "2028-01-10 11:00:05"
host
let_pass
case_is "after a restart neither does what keeps its runs" \
    kept_at 2028-01-10T11:00:00Z
clock_to "2028-01-10 11:59:50"
case_is "when the clock is past the last run, they go on" \
    until_true 9 all_at 2028-01-10T12:00:00Z
clock_to "2028-01-06 06:59:50"
case_is "days back, the clock was wrong, and they go on from now" \
    until_true 9 all_at 2028-01-06T07:00:00Z
end "$HOST"
runs=$(ran all)
clock_to "2028-01-06 09:30:00"
host
case_is "what fell out while it was off is made up for" \
    until_true 9 kept_at 2028-01-06T09:00:00Z
case_is "each of all" [ "$(ran all)" = "$((runs + 2))" ]
case_is "and skip does nothing" ran_only skip 2028-01-06T07:00:00Z
end "$HOST"
rm -r "$work/f/hours" "$work/f/noon" "$work/f/paris" "$work/f/energy-report"

# ---- what is a duration, and what is a time ----

function_of spans "[trigger begin]" "mqtt = spans/{what}" "[state]" \
    "key = {what}" "[grant]" "publish = probe/#" "send = later" <<'END'
local mp = require "moonpool"
local on = {}
function on.begin(e)
    if e.data == "look" then
        mp.publish("probe/value", tostring(mp.state.get("short")))
        return
    end
    local now = mp.monotonic()
    mp.alarm.set("at", {at = mp.now() + 3000, data = tostring(now)})
    mp.alarm.set("after", {after = 30, data = tostring(now)})
    mp.state.set("short", e.data, {ttl = 30})
    mp.send("later", {what = "delay", at = now}, {delay = 30})
    mp.send("later", {what = "retry", at = now})
    mp.publish("probe/begun", e.data)
end
function on.alarm(e)
    mp.publish("probe/" .. e.alarm, ("%.0f"):format(
        mp.monotonic() - tonumber(e.data)))
end
return on
END
function_of later "[retry]" "backoff = 30s" "[grant]" "publish = probe/#" <<'END'
local mp = require "moonpool"
return {send = function(e)
    local from = e:decode()
    if from.what == "retry" and e.attempt == 1 then
        mp.retry("not yet", {after = 30})
    end
    mp.publish("probe/" .. from.what, ("%.0f"):format(
        mp.monotonic() - from.at))
end}
END
# lasted NAME: it was told after its 30 s by the monotonic clock; a machine
# that is busy adds to that.
lasted() {
    local s
    s=$(sed -n "s|^probe/$1 ||p" "$work/told" | tail -1)
    [ -n "$s" ] && [ "$s" -ge 28 ] && [ "$s" -le 300 ]
}
all_lasted() { lasted after && lasted delay && lasted retry; }
host
say spans/a forward
until_true 9 told 'probe/begun forward' || not_ok "it begins"
clock_to "2028-01-06 10:30:00"
case_is "an alarm at a time goes with the clock" until_true 9 told 'probe/at '
case_is "well before its 50 minutes have passed" \
    [ "$(sed -n 's|^probe/at ||p' "$work/told")" -lt 300 ]
say spans/a look
case_is "a value with a ttl stays" until_true 9 told 'probe/value forward'
case_is "an alarm after a while, a delay, a retry last what they should" \
    until_true 20 all_lasted
say spans/a look
case_is "so does the value" until_true 9 told 'probe/value nil'
: >"$work/told"
say spans/b back
until_true 9 told 'probe/begun back' || not_ok "it begins again"
clock_to "2028-01-06 09:30:00"
case_is "and when the clock goes back" until_true 20 all_lasted
case_is "while the alarm at a time waits for its time" not told 'probe/at '
clock_to "2028-01-06 11:20:00"
case_is "which comes with the clock" until_true 9 told 'probe/at '
end "$HOST"

# ---- jitter ----

rm -r "$work/f/spans" "$work/f/later"
function_of spread "[function]" "timezone = UTC" \
    "[trigger a]" "cron = * * * * *" "jitter = 50s" \
    "[trigger b]" "cron = * * * * *" "jitter = 50s" \
    "[grant]" "publish = delay/#" <<'END'
local mp = require "moonpool"
return function(e)
    mp.publish("delay/" .. e.trigger, ("%.0f"):format(e.time - e.scheduled))
end
END
least() { sed -n "s|^delay/$1 ||p" "$work/told" | sort -n | head -1; }
# near A B: the same, but for a busy machine.
near() {
    [ -n "$1" ] && [ -n "$2" ] && [ $(($1 - $2)) -ge -4 ] &&
        [ $(($1 - $2)) -le 4 ]
}
same_delay() { near "$(least "$1")" "$2"; }
host
until_true 20 told delay/a && until_true 20 told delay/b
a=$(least a) b=$(least b)
case_is "a delay is within its jitter" [ "${a:-99}" -le 55 ]
case_is "each trigger has its own" not near "$a" "$b"
end "$HOST"
: >"$work/told"
host
case_is "after a restart it is the same" until_true 30 same_delay a "$a"
case_is "for each" until_true 30 same_delay b "$b"
end "$HOST"
case_is "it stops cleanly" logged 'host: stopped'
[ "$CASES_FAILED" -eq 0 ] || cat "$work/log" "$work/told"
cases_end
