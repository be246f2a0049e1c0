#!/usr/bin/env bash
# store.sh - the bounds of what is kept, and what happens at them: full
# queues, a broker that is away or says no, quotas, a full or broken database.
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
# host [CONF-LINES...]
host() {
    : >"$work/log"
    printf '%s\n' "$@" >"$work/conf"
    start HOST "$BUILD/moonpool-host" --config "$work/conf" \
        --functions "$work/f" --data "$work/data" --mqtt "$URL" --workers 2 \
        2>"$work/log"
    until_true 10 logged 'host: ready' || cat "$work/log"
}
subscribe() {
    start SUB mosquitto_sub -V 5 -p "$PORT" -q 1 -c -i checker -v \
        -t 'out/#' >>"$work/out"
}
pub() { mosquitto_pub -V 5 -p "$PORT" -q 1 "${@:3}" -t "$1" -m "${2:-x}"; }
mp() { timeout 10 "$BUILD/moonpool" "$@" --store "$work/data"; }
# value_is FUNCTION NAME VALUE [--key KEY]
value_is() { [ "$(mp state get "$1" "$2" "${@:4}" 2>&1)" = "$3" ]; }
times() { grep -cxF -- "$1" "$work/out"; }
came() { [ "$(times "$1")" -ge 1 ]; }
comes() { until_true "${2:-8}" came "$1"; }
once() { [ "$(times "$1")" -eq 1 ]; }
letters() { mp dlq ls "$1" --json | wc -l; }
sql() { sqlite3 "$work/data/moonpool.db" "$1"; }
ask() {
    curl -sS --max-time 5 --unix-socket "$work/data/moonpool.sock" \
        "http://moonpool$1"
}
# stops_at_once TITLE: the host, in a moment, not after the drain's 4 s.
stops_at_once() {
    local began=${EPOCHREALTIME/./}
    end "$HOST"
    local ms=$(((${EPOCHREALTIME/./} - began) / 1000))
    case_is "$1 ($ms ms)" [ "$ms" -lt 1000 ]
}
metric() { ask /metrics | sed -n "s/^moonpool_$1 //p"; }

# ---- functions ----

function_of slow "[trigger in]" "mqtt = slow/{d}" "[state]" "key = {d}" \
    "[limits]" "queue = 100" <<'END'
local mp = require "moonpool"
return function(e)
    mp.sleep(0.003)
    local n = tonumber(e.data)
    if n ~= mp.state.get("last", 0) + 1 then mp.state.increment("wrong") end
    mp.state.set("last", n)
    mp.state.increment("n")
end
END
function_of tight "[trigger in]" "mqtt = tight/in" "[state]" \
    "[limits]" "queue = 5" <<'END'
local mp = require "moonpool"
return function(e)
    mp.sleep(0.1)
    mp.state.set("seen", mp.state.get("seen", "") .. e.data .. " ")
end
END
function_of narrow "[trigger in]" "mqtt = narrow/in" "[state]" "[limits]" \
    "queue = 5" "park_bytes = 16K" <<'END'
local mp = require "moonpool"
return function() mp.sleep(0.02) mp.state.increment("n") end
END
# Sends to itself and speaks until it has counted to twenty.
function_of chain "[state]" "[grant]" "publish = out/#" "send = chain" <<'END'
local mp = require "moonpool"
return {send = function()
    local n = mp.state.increment("n")
    mp.publish("out/chain", n)
    if n < 20 then mp.send("chain", "", {delay = 0.02}) end
end}
END
TWO='local mp = require "moonpool"
return function(e)
    if e.trigger == "counted" then mp.state.increment("n") end
    mp.publish("out/" .. mp.name, e.data)
    mp.publish("forbidden/" .. mp.name, e.data)
    mp.publish("out/" .. mp.name, "and " .. e.data)
end'
function_of twice "[trigger counted]" "mqtt = two/in" "[state]" "[grant]" \
    "publish = #" <<<"$TWO"
function_of plain "[trigger in]" "mqtt = two/in" "[grant]" "publish = #" \
    <<<"$TWO"
function_of shared-state "[trigger in]" "mqtt = both/in" "[state]" <<'END'
return function() require "moonpool".state.increment("n") end
END
function_of shared-plain "[trigger in]" "mqtt = both/in" "[grant]" \
    "publish = out/#" <<'END'
return function(e) require "moonpool".publish("out/both", e.data) end
END
function_of asks-retained "[trigger in]" "mqtt = both/in" "retained = yes" \
    "[state]" <<'END'
return function(e)
    if e.retained then require "moonpool".state.increment("n") end
end
END
# An actor of 200 KB.
function_of large "[trigger in]" "mqtt = large/{d}/{what}" "[state]" \
    "key = {d}" "[grant]" "publish = out/#" <<'END'
local mp = require "moonpool"
return function(e)
    if e.params.what == "fill" then
        local from = tonumber(e.data)
        for n = from, from + 24 do
            mp.state.set(("v%03d"):format(n), ("%03d"):format(n):rep(700))
        end
        mp.publish("out/filled", e.data)
        return
    end
    local of = e.data == "mine" and mp.state or mp.state.of(e.data)
    local n, bytes, last = 0, 0, ""
    for name, value in of:each("v") do
        assert(name > last)
        n, bytes, last = n + 1, bytes + #value, name
    end
    local names = mp.state.names("v0")
    mp.publish("out/large", table.concat({n, bytes, #names,
               of:get("v100"):sub(1, 3), of:get("v001"):sub(1, 3),
               table.concat(mp.state.actors(), ",")}, " "))
end
END
# mp.state's own functions take no self.
sed -i 's/of = e.data == "mine" and mp.state or .*/of = e.data ~= "mine" and mp.state.of(e.data) or {\
        each = function(_, p) return mp.state.each(p) end,\
        get = function(_, n) return mp.state.get(n) end}/' \
    "$work/f/large/main.lua"
function_of memory "[trigger in]" "mqtt = memory/in" "[state]" \
    "durable = no" "[grant]" "publish = out/#" <<'END'
local mp = require "moonpool"
return function(e)
    mp.publish("out/memory", e.data .. " " .. mp.state.increment("n"))
end
END
function_of brief "[trigger in]" "mqtt = brief/in" "[state]" "[grant]" \
    "publish = out/#" <<'END'
local mp = require "moonpool"
return function(e)
    if e.data == "set" then mp.state.set("v", "here", {ttl = 0.6}) end
    mp.publish("out/brief", e.data .. " " .. mp.state.get("v", "gone"))
end
END
function_of quota "[trigger in]" "mqtt = quota/in" "[state]" "quota = 4K" \
    "[retry]" "attempts = 1" "[grant]" "publish = out/#" "send = chain" <<'END'
local mp = require "moonpool"
return function(e)
    if e.alarm then return end
    mp.state.set("small", e.data)
    mp.alarm.set("a", {after = 0.1})
    mp.publish("out/quota", e.data)
    if e.data == "much" then mp.state.set("large", ("x"):rep(8000)) end
end
END
function_of hoard "[trigger in]" "mqtt = hoard/{d}" "[state]" "key = {d}" \
    "quota = 64M" <<'END'
local mp = require "moonpool"
return function(e)
    mp.state.set("v", e.data)
    mp.state.increment("n")
end
END

printf 'topic readwrite #\ntopic deny forbidden/#\n' >"$work/acl"
# (With 0 as its bound mosquitto 2.0.11 closes after each refusal.)
start_broker "$work/broker" "max_queued_messages 100000" "persistence true" \
    "persistence_location $work/broker/" "acl_file $work/acl" || exit 1
chmod 755 "$work" && chmod 644 "$work/acl"
subscribe
pub both/in retained -r
host
comes "out/both retained"

# ---- retained messages ----

case_is "functions with state take no retained messages by default" \
    [ -z "$(mp state get shared-state n 2>/dev/null)" ]
case_is "but where that is asked for" until_true 3 value_is asks-retained n 1

# ---- a full queue ----

for ((n = 1; n <= 300; n++)); do echo "$n"; done >"$work/numbers"
pubs=()
for d in 0 1 2 3 4 5 6 7 8 9; do
    mosquitto_pub -p "$PORT" -q 1 -t "slow/$d" -l <"$work/numbers" &
    pubs+=($!)
done
wait "${pubs[@]}"
some_done() { [ "$(mp state get slow n --key 3 2>/dev/null || echo 0)" -ge 60 ]; }
until_true 8 some_done
n=$(mp state get slow n --key 3)
case_is "3,000 readings for a slow function: it is in the middle" \
    [ "$n" -lt 300 ]
case_is "many wait on disk" [ "$(sql 'SELECT COUNT(*) FROM queue')" -gt 50 ]
end "$HOST" KILL
host
all_done() {
    for d in 0 1 2 3 4 5 6 7 8 9; do
        value_is slow n 300 --key "$d" || return 1
    done
}
case_is "over SIGKILL all are run, none twice" until_true 20 all_done
in_order() {
    for d in 0 1 2 3 4 5 6 7 8 9; do
        [ -z "$(mp state get slow wrong --key "$d" 2>/dev/null)" ] &&
            value_is slow last 300 --key "$d" || return 1
    done
}
case_is "in the order of their topics" in_order
case_is "and nothing waits any more" \
    [ "$(mp queue ls slow --json | wc -l)" -eq 0 ]

# Killed as soon as some are on disk, the ones before them in memory.
seq 1 12 | mosquitto_pub -p "$PORT" -q 1 -t tight/in -l
some_wait() {
    [ "$(sql "SELECT COUNT(*) FROM queue WHERE fn = 'tight'")" -ge 6 ]
}
case_is "a full queue: some wait on disk" until_true 5 some_wait
end "$HOST" KILL
host
case_is "over SIGKILL what is on disk does not overtake what was not" \
    until_true 10 value_is tight seen '"1 2 3 4 5 6 7 8 9 10 11 12 "'

for ((n = 1; n <= 100; n++)); do printf '%0500d\n' "$n"; done |
    mosquitto_pub -p "$PORT" -q 1 -t narrow/in -l
settled() {
    [ "$(($(mp state get narrow n 2>/dev/null || echo 0) + $(metric \
        'dead_letters_total{f="narrow",reason="full"}')))" -eq 100 ]
}
case_is "past park_bytes they are dead letters; all are accounted for" \
    until_true 10 settled
case_is "some of each" [ "$(metric \
    'dead_letters_total{f="narrow",reason="full"}')" -gt 10 ]
case_is "eleven are kept" [ "$(letters narrow)" -eq 11 ]

# ---- two functions, and a broker that says no ----

for ((n = 1; n <= 50; n++)); do echo "$n"; done |
    mosquitto_pub -p "$PORT" -q 1 -t both/in -l
case_is "one topic runs a function with state" \
    until_true 5 value_is shared-state n 50
case_is "and one without" comes "out/both 50"
pub two/in hello
for name in twice plain; do
    case_is "$name: what the broker takes arrives" comes "out/$name hello"
    case_is "$name: also after what it refuses" comes "out/$name and hello"
    refused() { [ "$(letters "$name")" -eq 1 ]; }
    case_is "$name: which is a dead letter" until_true 5 refused
    case_is "$name: of the kind 'output'" \
        grep -q '"outcome":"output"' <<<"$(mp dlq ls "$name" --json)"
done

# ---- state: much, short-lived, in memory only, too much ----

for from in 1 26 51 76; do pub large/a/fill "$from"; done
comes "out/filled 76"
pub large/a/look mine
case_is "an actor may have more than travels along" \
    comes "out/large 100 210000 99 100 001 a"
end "$HOST" KILL
host
pub large/a/look mine
seen_twice() { [ "$(times "out/large 100 210000 99 100 001 a")" -eq 2 ]; }
case_is "after a kill as well" until_true 5 seen_twice
pub large/b/look a
case_is "another one can read it" comes "out/large 100 210000 0 100 001 a"

pub memory/in one
pub memory/in two
case_is "durable = no keeps values in memory" comes "out/memory two 2"
case_is "and not on disk" \
    [ "$(sql "SELECT COUNT(*) FROM state WHERE fn = 'memory'")" = 0 ]
pub brief/in set
pub quota/in little
case_is "what fits the quota is applied" comes "out/quota little"
case_is "a value with a TTL is there" comes "out/brief set here"
pub quota/in much
case_is "what does not is said" until_true 5 logged 'quota .4096 bytes. is full'
case_is "and nothing of it is applied" value_is quota small '"little"'
case_is "nor sent" [ "$(times "out/quota much")" -eq 0 ]
end "$HOST"
host
sleep 1
pub memory/in three
case_is "a restart empties what is in memory" comes "out/memory three 1"
pub brief/in look
case_is "time runs on for a TTL over a restart" comes "out/brief look gone"
case_is "what a broker refused in part is acknowledged" once "out/plain hello"
case_is "and does not come again" once "out/twice hello"

# ---- the broker is away ----

mp send chain --data go >/dev/null
comes "out/chain 2"
end "$SUB"
end "$BROKER"
case_is "without a broker functions go on" until_true 8 value_is chain n 20
case_is "what they say waits on disk" \
    [ "$(sql 'SELECT COUNT(*) FROM outbox')" -gt 5 ]
stops_at_once "and a host with that on its hands stops at once"
host
start BROKER mosquitto -c "$work/broker/mosquitto.conf" \
    >>"$work/broker/mosquitto.log" 2>&1
until_true 5 broker_is_up
subscribe
case_is "and leaves after a restart of both" comes "out/chain 20" 20
case_is "in order, once each" \
    [ "$(sed -n 's/^out.chain //p' "$work/out" | tr '\n' ' ')" = \
    "$(seq 20 | tr '\n' ' ')" ]
end "$HOST"

# ---- the database ----

sqlite3 "$work/data/moonpool.db" 'PRAGMA user_version' >"$work/version"
sql 'PRAGMA user_version = 99'
sum=$(sha256sum <"$work/data/moonpool.db")
: >"$work/log"
start HOST "$BUILD/moonpool-host" --functions "$work/f" --data "$work/data" \
    --mqtt "$URL" 2>"$work/log"
case_is "a database of a newer moonpool is refused" \
    until_true 5 logged 'newer moonpool'
newer() { ask /readyz 2>/dev/null | grep -q 'newer moonpool'; }
case_is "readyz says so" until_true 5 newer
end "$HOST"
case_is "and untouched" [ "$sum" = "$(sha256sum <"$work/data/moonpool.db")" ]
sql "PRAGMA user_version = $(cat "$work/version")"

for at in 0 8192 16384 65536; do
    head -c 4096 /dev/urandom | dd of="$work/data/moonpool.db" bs=1 \
        seek="$at" conv=notrunc 2>/dev/null
done
broken=$(sha256sum <"$work/data/moonpool.db")
host
case_is "a corrupt database is said" logged 'the database was corrupt'
aside=$(sed -n "s/.*kept_as='*\([^' ]*\).*/\1/p" "$work/log")
case_is "set aside, and where is told" [ -e "$work/data/${aside##*/}" ]
case_is "as it was" \
    [ "$broken" = "$(sha256sum <"$work/data/${aside##*/}")" ]
pub both/in new
case_is "and it works on with a new one" until_true 5 value_is shared-state n 1
end "$HOST"

rm -r "$work/data"
host "[store]" "max_size = 1M"
big=$(printf '%030000d' 7)
for ((n = 1; n <= 60; n++)); do pub "hoard/$n" "$big"; done
case_is "at max_size that is said" until_true 8 logged 'the database is nearly full'
not_ready() { ask /readyz | grep -q 'max_size'; }
case_is "also by readyz" until_true 5 not_ready
case_is "the file is no larger" \
    [ "$(stat -c %s "$work/data/moonpool.db")" -le 1048576 ]
end "$HOST"
host "[store]" "max_size = 64M"
hoarded() {
    [ "$(sql "SELECT COUNT(*), SUM(value) FROM state
              WHERE fn = 'hoard' AND name = 'n'")" = "60|60" ]
}
case_is "with more room the broker's inputs come, each once" \
    until_true 10 hoarded
case_is "and it is ready" grep -q '"ready"' <<<"$(ask /readyz)"
end "$HOST"
[ "$CASES_FAILED" -eq 0 ] || {
    cat "$work/log"
    grep -v 'both\|chain' "$work/out" | cut -c1-200
}
cases_end
