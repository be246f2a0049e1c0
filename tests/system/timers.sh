#!/usr/bin/env bash
# timers.sh - what runs by the clock, with a real host: again and again, at
# start, one at a time, and made up for after it was off.
# builds: release sanitized
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
export MOONPOOL_HOST=

logged() { grep -qE -- "$1" "$work/log"; }
host() {
    : >"$work/log"
    start HOST "$BUILD/moonpool-host" --functions "$work/f" \
        --data "$work/data" --mqtt "$URL" --workers 2 2>"$work/log"
    until_true 15 logged 'host: ready' || cat "$work/log"
}
function_of() {
    mkdir -p "$work/f/$1"
    printf '%s\n' "${@:2}" >"$work/f/$1/function.conf"
    cat >"$work/f/$1/main.lua"
}
value() { timeout 10 "$BUILD/moonpool" state get "$1" "$2" --store "$work/data" 2>/dev/null; }
reached() { [ "$(value "$1" "$2" || echo 0)" -ge "$3" ]; }

function_of clock "[trigger tick]" "every = 200ms" "at_start = yes" \
    "[trigger hourly]" "every = 1h" "at_start = yes" \
    "[trigger daily]" "cron = @daily" "timezone = Europe/Paris" \
    "[state]" "key = {device}" <<'END'
local mp = require "moonpool"
local on = {}
function on.tick(e)
    assert(e.type == "timer" and e.key == nil and e.scheduled and not e.topic)
    mp.state.increment("ticks")
end
function on.hourly() mp.state.increment("hours") end
function on.daily() mp.state.increment("days") end
return on
END
# Each run takes longer than the period.
function_of slow "[trigger tick]" "every = 100ms" "[state]" <<'END'
local mp = require "moonpool"
return function(e)
    mp.sleep(0.45)
    mp.state.increment("runs")
    mp.state.increment("missed", e.missed)
end
END
function_of owed "[trigger often]" "every = 2s" "missed = all" "[state]" <<'END'
local mp = require "moonpool"
return function() mp.state.increment("runs") end
END

start_broker "$work/broker" || exit 1
host
case_is "a timer runs again and again, as the function's own actor" \
    until_true 20 reached clock ticks 5
case_is "one of an hour has run once, at the start" \
    [ "$(value clock hours)" = 1 ]
case_is "one of a day has not" [ -z "$(value clock days)" ]
case_is "a slow one runs one at a time" until_true 20 reached slow runs 3
case_is "and is told what it missed" reached slow missed 3
case_is "one that owes its runs keeps count" until_true 20 reached owed runs 1
end "$HOST" KILL
before=$(value owed runs)
sleep 7
host
case_is "after 7 s without it, three of 2 s are made up for at once" \
    until_true 4 reached owed runs "$((before + 3))"

mkdir -p "$work/f/bad"
printf '[trigger a]\ncron = 0 25 * * *\n' >"$work/f/bad/function.conf"
echo 'return function() end' >"$work/f/bad/main.lua"
kill -HUP "$HOST"
case_is "a mistake is named with its field" \
    until_true 10 logged "cron = 0 25 \* \* \*: hour '25': 0 to 23"
rm -r "$work/f/bad" "$work/f/slow"
kill -HUP "$HOST"
case_is "a timer that goes away in the middle of a run harms nobody" \
    until_true 10 logged 'slow: removed'
ticks=$(value clock ticks)
case_is "and the others go on" until_true 20 reached clock ticks "$((ticks + 3))"
end "$HOST"
case_is "it stops cleanly" logged 'host: stopped'
[ "$CASES_FAILED" -eq 0 ] || cat "$work/log"
cases_end
