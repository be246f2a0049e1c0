#!/usr/bin/env bash
# flash.sh - an invocation that ends ok, changes nothing and sends nothing
# after reading state writes no byte to the data directory, over a minute of
# bursts; what does write is counted, on its function's account.
# builds: release
#
# MOONPOOL_FLASH_SECONDS=N bursts for another time.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
seconds=${MOONPOOL_FLASH_SECONDS:-60}

logged() { grep -q "$1" "$work/log"; }
# Names, sizes and times of all that is kept (the -shm is memory that is
# shared, not storage).
look() { find "$work/data" ! -name '*-shm' -printf '%P %s %T@\n' | sort; }
metric() {
    : >"$work/log"
    kill -USR1 "$HOST"
    until_true 5 logged moonpool_build_info
    sed -n "s/^moonpool_$1 //p" "$work/log" | tail -n 1
}

start_broker "$work/broker" "max_queued_messages 0" || exit 1
mkdir -p "$work/f/still" "$work/f/reads" "$work/f/alarms" "$work/f/counts"
cat >"$work/f/still/function.conf" <<'END'
[trigger in]
mqtt = sensors/{device}/env
[grant]
publish = alerts/#
END
cat >"$work/f/still/main.lua" <<'END'
local mp, json = require "moonpool", require "json"
return function(event)
    if json.decode(event.data).temp > 30 then mp.publish("alerts/a", "hot") end
end
END
# Reads its state, sets what is there already, and says nothing.
cat >"$work/f/reads/function.conf" <<'END'
[trigger in]
mqtt = sensors/{device}/env
[state]
key = {device}
END
cat >"$work/f/reads/main.lua" <<'END'
local mp = require "moonpool"
return function(event)
    mp.state.get("seen", 0)
    mp.state.set("name", "always the same")
end
END
# Its alarm is within the slack.
cat >"$work/f/alarms/function.conf" <<'END'
[trigger in]
mqtt = sensors/{device}/env
[state]
key = {device}
END
cat >"$work/f/alarms/main.lua" <<'END'
local mp = require "moonpool"
local on = {}
function on.alarm() end
on["in"] = function()
    mp.alarm.set("silent", {after = "30m", slack = "10m"})
end
return on
END
cat >"$work/f/counts/function.conf" <<'END'
[trigger in]
mqtt = count/me
[state]
END
cat >"$work/f/counts/main.lua" <<'END'
local mp = require "moonpool"
return function() mp.state.increment("n") end
END
start HOST "$BUILD/moonpool-host" --functions "$work/f" --data "$work/data" \
    --mqtt "$URL" --workers 1 2>"$work/log"
until_true 10 logged 'host: ready' || { cat "$work/log"; exit 1; }

# The first events write: the value, the alarms, the session.  (Every 32,768
# packet ids the session is written again: the bursts stay below that.)
"$BUILD/sensors" --mqtt "$URL" --devices 20 --count 200 >/dev/null
is_still() {
    look >"$work/before"
    sleep 3
    look | cmp -s - "$work/before"
}
until_true 30 is_still
flash=$(metric 'flash_written_bytes_total{f=""}')
"$BUILD/sensors" --mqtt "$URL" --devices 20 --rate 500 --burst \
    --seconds "$seconds" >"$work/sensors"
sleep 2
look >"$work/after"
case_is "bursts came" test "$(metric 'invocations_total{f="reads",v="0.0.0",outcome="ok"}')" -gt 1000
case_is "$seconds s of bursts wrote not a byte" diff "$work/before" "$work/after"
case_is "and none is counted" \
    test "$(metric 'flash_written_bytes_total{f=""}')" = "$flash"

before=$(metric 'flash_written_bytes_total{f="counts"}')
mosquitto_pub -p "$PORT" -q 1 -t count/me -m x
sleep 0.5
case_is "what a function writes is counted on its account" \
    test "$(metric 'flash_written_bytes_total{f="counts"}')" -gt "${before:-0}"
end "$HOST"
cases_end
