#!/usr/bin/env bash
# limits.sh - what a review broke once and shall not break again: forbidden
# topics, functions that don't load, lanes of their own, a stop in the middle
# of work, functions that go away.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT

logged() { grep -q "$1" "$work/log"; }
got() { [ "$(sort -u "$work/out" | grep -c "$1")" -ge "$2" ]; }
pub() { mosquitto_pub -p "$PORT" -q 1 -t "$1" -m "${2:-x}"; }
# function DIR CONF-LINES... ; its main.lua from stdin
function_of() {
    mkdir -p "$work/f/$1"
    printf '%s\n' "${@:2}" >"$work/f/$1/function.conf"
    cat >"$work/f/$1/main.lua"
}
host() {
    start HOST "$BUILD/moonpool-host" --functions "$work/f" \
        --data "$work/data" --mqtt "$URL" --workers 2 2>"$work/log"
    until_true 10 logged 'host: ready'
}

function_of prefix "[trigger]" "mqtt = prefix" "[grant]" "publish = #" <<'E2'
local mp = require "moonpool"
return function(e)
    local fine, why = pcall(mp.publish, "moonpool/me/status", "offline")
    mp.publish("out/prefix", tostring(fine))
    mp.publish("moonpool/me/status", "offline")
end
E2
function_of huge "[trigger in]" "mqtt = huge" "[limits]" "memory = 64M" <<'E2'
return {[("x"):rep(16 << 20)] = function() end, ["in"] = function() end}
E2
function_of own "[trigger in]" "mqtt = own/{n}" "lane = own" "[limits]" \
    "queue = 20" "[grant]" "publish = out/#" <<'E2'
local mp = require "moonpool"
return function(e)
    mp.sleep(0.02)
    mp.publish("out/own", e.params.n)
end
E2
function_of late "[trigger in]" "mqtt = late" "[limits]" "timeout = 30s" \
    "[grant]" "publish = out/#" <<'E2'
local mp = require "moonpool"
return function(e) mp.sleep(20) mp.publish("out/late", "slow") end
E2
function_of dir-name "[function]" "name = other-name" "[trigger in]" \
    "mqtt = named" "[grant]" "publish = out/#" <<'E2'
local mp = require "moonpool"
return function(e) mp.publish("out/named", e.data) end
E2
function_of gone "[trigger in]" "mqtt = gone" "[limits]" "timeout = 30s" <<'E2'
return function(e) require "moonpool".sleep(2) end
E2
function_of forge "[trigger in]" "mqtt = forge" <<'E2'
return function(e)
    require "moonpool".log.info("hm", {["a\n2026-01-01 error host: forged"] = 1})
end
E2
function_of chance "[trigger in]" "mqtt = chance" "[grant]" \
    "publish = out/#" <<'E2'
math.random = nil
return function(e) require "moonpool".publish("out/chance", "fine") end
E2

start_broker "$work/broker" "max_queued_messages 0" || exit 1
start SUB mosquitto_sub -p "$PORT" -q 1 -c -i checker -v -t 'out/#' >"$work/out"
case_is "a function that can't be told does not keep the host from starting" \
    host
case_is "and is named" logged ' huge: .*wait on disk'

pub prefix
case_is "a publish to the host's own topics is an error of that invocation" \
    until_true 5 logged 'prefix@0.0.0/mqtt: main.lua:5: publish to'
case_is "and kills no worker" not logged 'pool: '
pub forge
case_is "a field name forges no log line" not grep -q '^2026-01-01' "$work/log"
pub chance
case_is "math.random may be taken away" until_true 5 got 'out/chance fine' 1

for ((n = 0; n < 100; n++)); do echo "$n"; done >"$work/numbers"
while read -r n; do pub "own/$n" & done <"$work/numbers"
case_is "a lane of its own holds the broker back: nothing is dropped" \
    until_true 20 got 'out/own' 100
case_is "and nothing is told" not logged 'own@.*dropped'

echo '[trigger in' >"$work/f/dir-name/function.conf"
kill -HUP "$HOST"
case_is "a mistake leaves what was live, whatever its name" \
    until_true 5 logged 'other-name: not replaced'
pub named still
case_is "and it answers" until_true 5 got 'out/named still' 1

for n in 1 2 3 4 5; do pub gone "$n"; done
sleep 0.5
rm -r "$work/f/gone"
kill -HUP "$HOST"
waits() {
    [ "$("$BUILD/moonpool" queue ls gone --store "$work/data" --json |
        grep -c '"function":"gone"')" -ge 4 ]
}
case_is "what waited for a removed function stays on disk" until_true 8 waits

pub late &
sleep 0.15
begin=$SECONDS
case_is "SIGTERM in the middle of work" end "$HOST"
case_is "ends within 6 s" [ $((SECONDS - begin)) -le 6 ]
case_is "and says so" not logged 'are lost'
function_of late "[trigger in]" "mqtt = late" "[grant]" \
    "publish = out/#" <<'E2'
return function(e) require "moonpool".publish("out/late", "again") end
E2
host
case_is "what was not done comes again after a restart" \
    until_true 5 got 'out/late again' 1
end "$HOST"

printf '[mqtt]\nurl = mqtts://127.0.0.1:%s\nca = /nowhere.pem\n' "$PORT" \
    >"$work/tls.conf"
"$BUILD/moonpool-host" --config "$work/tls.conf" --functions "$work/f" \
    --data "$work/data2" 2>"$work/log"
case_is "without its certificates TLS is refused, not left out" [ $? -eq 1 ]
case_is "and the file is named" logged 'ca = /nowhere.pem'
[ "$CASES_FAILED" -eq 0 ] || cat "$work/log"
cases_end
