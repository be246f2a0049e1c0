#!/usr/bin/env bash
# builds: release
# long
# stream.sh - what a trigger's lines make of a stream, with a real broker:
# each event is run, skipped or dropped, and counted; windows write nothing
# where they need not; batches end as one, and one bad event spoils no other;
# SIGKILL while windows are open loses nothing and counts nothing twice.
set -u
PUBS=()
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
export MOONPOOL_HOST=

logged() { grep -qE "$1" "$work/log"; }
# function_of NAME LINE...: takes NAME/{d}; its handler's body from stdin, which
# may call out(TEXT) and data(BATCH).
function_of() {
    mkdir -p "$work/f/$1"
    printf '%s\n' "[grant]" "publish = out/#" "[trigger in]" \
        "mqtt = $1/{d}" "${@:2}" >"$work/f/$1/function.conf"
    {
        echo "local mp = require 'moonpool'"
        echo "local function out(text) mp.publish('out/$1', text) end"
        echo "local function data(e)"
        echo "  local all = {}"
        echo "  for i, one in ipairs(e.events) do all[i] = one.data end"
        echo "  return table.concat(all, ' ')"
        echo "end"
        echo "return function(e)"
        cat
        echo "end"
    } >"$work/f/$1/main.lua"
}
host() {
    : >"$work/log"
    start HOST "$BUILD/moonpool-host" --config "$work/conf" \
        --functions "$work/f" --data "$work/data" --mqtt "$URL" --workers 2 \
        2>"$work/log"
    until_true 10 logged 'host: ready' || cat "$work/log"
}
# pub TOPIC [QOS]: lines of stdin, in order
pub() { mosquitto_pub -p "$PORT" -q "${2:-1}" -t "$1" -l; }
# got NAME LINE N: that often it was said
got() { [ "$(grep -cx "out/$1 $2" "$work/out")" -eq "$3" ]; }
said() { [ "$(grep -c "^out/$1 " "$work/out")" -ge "$2" ]; }
metrics() {
    curl -sS --unix-socket "$work/data/moonpool.sock" \
        http://moonpool/metrics >"$work/metrics"
}
# metric LINE: 0 where it never happened
metric() {
    local n
    n=$(sed -n "s/^moonpool_$1 //p" "$work/metrics" | head -1)
    echo "${n:-0}"
}
# count NAME WHAT [REASON]: events_WHAT_total of its trigger
count() {
    metric "events_${2}total{f=\"$1\",t=\"in\"${3:+,reason=\"$3\"}}"
}
counted() { metrics && [ "$(count "$1" "$2" "${4:-}")" -eq "$3" ]; }
# What came was run, skipped or dropped, or waits in a window.
adds_up() {
    local sum
    metrics
    sum=$(sed -nE "s/^moonpool_events_(run|skipped|dropped)_total\{f=\"$1\".* //p
        s/^moonpool_window_events\{f=\"$1\"\} //p" "$work/metrics" |
        awk '{ n += $1 } END { print n + 0 }')
    [ "$sum" -eq "$(count "$1" '')" ] && [ "$sum" -gt 0 ]
}
# value_is FUNCTION KEY NAME VALUE
value_is() {
    [ "$("$BUILD/moonpool" state get "$1" "$3" --key "$2" \
        --store "$work/data" 2>&1)" = "$4" ]
}

# requested NAME LINE...: as function_of; it answers POST /NAME/{d}.
requested() {
    function_of "$@"
    sed -i "s|^mqtt = .*|http = POST /$1/{d}|" "$work/f/$1/function.conf"
}
# post PATH DATA: the status
post() {
    curl -sS -o "$work/answer" -w '%{http_code}' -d "$2" \
        "http://127.0.0.1:$HTTP/$1"
}

# ---- functions ----

function_of filter 'filter = temp > 30 and not exists(off)' <<'END'
out(e.data)
END
function_of band 'deadband = data 0.5 per {d}' <<'END'
out(e.params.d .. " " .. e.data)
END
function_of slow 'throttle = 3/h per {d}' <<'END'
out(e.params.d .. " " .. e.data)
END
function_of latest 'coalesce = latest per {d} within 300ms' <<'END'
out(e.params.d .. " " .. e.data)
END
function_of settled 'coalesce = settled per {d} within 600ms' <<'END'
out(e.params.d .. " " .. e.data)
END
function_of zero 'qos = 0' 'batch = 3 per {d} within 400ms' <<'END'
out(e.params.d .. " " .. data(e))
END
function_of one 'batch = 3 within 400ms' <<'END'
out(e.id:match("~%d+$") .. " " .. data(e))
END
function_of own 'lane = own' 'batch = 50 per {d} within 1s' <<'END'
out(e.params.d .. " " .. #e.events)
END
function_of shared 'batch = 50 per {d} within 600ms' <<'END'
out(e.params.d .. " " .. #e.events)
END
function_of judge 'batch = 4 within 300ms' '[retry]' 'backoff = 50ms' <<'END'
local n = 0
for _, one in ipairs(e.events) do
    if one.data == "no" then
        one:reject("no good")
    elseif one.data == "later" and one.attempt == 1 then
        one:retry("not now")
    else
        n = n + 1
    end
end
out(n .. " of " .. data(e))
END
function_of poison 'batch = 10 within 10s' '[state]' <<'END'
for _, one in ipairs(e.events) do
    mp.state.increment(one.data)
    if one.data == "bad" then mp.state.get("x").y = 1 end
end
out("done")
END
function_of killer 'batch = 5 within 10s' '[limits]' 'timeout = 500ms' \
    'cpu = 500ms' <<'END'
for _, one in ipairs(e.events) do
    if one.data == "bad" then string.rep("a", 100):rep(50):find(("a*"):rep(30) .. "b") end
end
out(data(e))
END
# Exactly once, whatever is killed when.
for name in crash crashown; do
    lane=shared
    [ "$name" = crash ] || lane=own
    function_of "$name" "lane = $lane" 'batch = 40 within 1s' '[state]' \
        'key = {d}' <<'END'
for _, one in ipairs(e.events) do
    if mp.state.get(one.data) then mp.state.increment("twice") end
    mp.state.set(one.data, true)
end
mp.state.increment("n", #e.events)
END
done
function_of rolling 'lane = own' 'batch = 100 per {d} within 2s' <<'END'
out(e.params.d .. " " .. #e.events)
END
# Its worker is killed while it is at it.
function_of victim 'batch = 20 within 10s' '[state]' '[limits]' \
    'timeout = 3s' 'cpu = 3s' <<'END'
local start = os.clock()
while os.clock() - start < 0.4 do end
mp.state.increment("n", #e.events)
END
requested asked 'filter = temp > 3' 'throttle = 2/h per {d}' <<'END'
return "yes"
END
requested later 'async = yes' 'coalesce = latest per {d} within 600ms' <<'END'
out(e.data)
END
free_port
HTTP=$PORT
printf '%s\n' '[mqtt]' 'hold = 100ms' 'keepalive = 5s' '[http]' \
    "listen = 127.0.0.1:$HTTP" >"$work/conf"

start_broker "$work/broker" "max_queued_messages 0" \
    "max_inflight_messages 1000" || exit 1
start SUB mosquitto_sub -p "$PORT" -q 1 -c -i checker -v -t 'out/#' \
    >"$work/out"
host

# ---- rolling: while the others are tested ----

for ((n = 0; n < 110; n++)); do
    echo "$n" | mosquitto_pub -p "$PORT" -q 1 -t "rolling/$n" -l
    sleep 0.08
done &
ROLLING=$!

# ---- lines ----

printf '%s\n' '{"temp":31}' '{"temp":30}' '{"temp":40,"off":1}' 'no JSON' \
    '{"temp":99}' | pub filter/a
case_is "a filter lets through what it names" \
    until_true 5 got filter '{"temp":99}' 1
case_is "and no other" said filter 2
case_is "the others are counted" counted filter skipped_ 3 filter
printf '%s\n' 20 20.4 20.5 20.6 21 | pub band/a
echo 20.4 | pub band/b
case_is "a deadband lets through what has moved" until_true 5 said band 4
case_is "of each key" got band 'b 20.4' 1
case_is "and skips what has not" counted band skipped_ 2 deadband
seq 1 10 | pub slow/a
seq 1 2 | pub slow/b
case_is "a throttle lets through as many as it says" until_true 5 said slow 5
case_is "and skips the excess" counted slow skipped_ 7 throttle

seq 1 20 | pub latest/a
echo 7 | pub latest/b
case_is "of a window the last event runs" until_true 5 got latest 'a 20' 1
case_is "of each key" until_true 5 got latest 'b 7' 1
case_is "and is not counted as skipped" counted latest skipped_ 19 coalesce
for n in 1 2 3 4 5 6 7 8; do
    echo "$n"
    sleep 0.1
done | pub settled/a
case_is "nothing settles while it moves" not said settled 1
case_is "then the last one runs" until_true 5 got settled 'a 8' 1

# ---- batches ----

seq 1 7 | pub zero/a 0
case_is "a batch is full" until_true 5 got zero 'a 4 5 6' 1
case_is "or its time is up" until_true 5 got zero 'a 7' 1
seq 1 5 | pub one/a
case_is "the same with QoS 1" until_true 5 got one '~3 1 2 3' 1
case_is "and a batch has a name of its own" until_true 5 got one '~2 4 5' 1
seq 1 30 | pub own/a
case_is "what waits on its own lane stays with the broker" \
    until_true 5 got own 'a 30' 1
seq 1 30 | pub shared/a
parked() { metrics && [ "$(metric 'parked_total{f="shared",reason="window"}')" -eq 30 ]; }
case_is "on the shared one it is parked after hold" until_true 5 parked
case_is "and runs when its time is up" until_true 5 got shared 'a 30' 1
metrics
case_is "nothing is written for QoS 0" \
    [ "$(metric 'flash_written_bytes_total{f="zero"}')" -eq 0 ]
case_is "nor on a lane of its own" \
    [ "$(metric 'flash_written_bytes_total{f="own"}')" -eq 0 ]
case_is "nor parked" [ "$(metric 'parked_total{f="own",reason="window"}')" -eq 0 ]

printf '%s\n' a no later b | pub judge/a
case_is "e:reject and e:retry let the others be done" \
    until_true 5 got judge '2 of a no later b' 1
case_is "who is sent back runs again, alone" \
    until_true 5 got judge '1 of later' 1
dead() { metrics && [ "$(metric "dead_letters_total{f=\"$1\",reason=\"$2\"}")" -eq "$3" ]; }
case_is "who is refused is a dead letter" until_true 5 dead judge rejected 1

{ seq 1 5; echo bad; seq 6 9; } | pub poison/a
case_is "one bad event of a batch is a dead letter" \
    until_true 15 dead poison error 1
poison_done() {
    local n
    for n in 1 2 3 4 5 6 7 8 9; do
        [ "$("$BUILD/moonpool" state get poison "$n" \
            --store "$work/data" 2>&1)" = 1 ] || return 1
    done
}
case_is "and all others are done, once" until_true 5 poison_done
{ seq 1 3; echo bad; echo 4; } | pub killer/a
killed() { dead killer timeout 1 || dead killer killed 1; }
case_is "so is one that has to be stopped" until_true 15 killed
case_is "and the others are done" until_true 5 said killer 4

# ---- a worker dies; somebody asks ----

mapfile -t before < <(pgrep -P "$HOST" -f moonpool-worker)
seq 1 20 | pub victim/a
until_true 5 counted victim "" 20
kill -KILL "${before[@]}"
case_is "a batch whose worker is killed is done once" \
    until_true 10 value_is victim '' n 20
case_is "a request that a filter does not take is told so" \
    [ "$(post asked/a '{"temp":1}')" = 400 ]
case_is "one that it takes is answered" [ "$(post asked/a '{"temp":4}')" = 200 ]
post asked/a '{"temp":4}' >"$work/status"
case_is "one too many is told so" [ "$(post asked/a '{"temp":4}')" = 429 ]
case_is "an asynchronous one is accepted before its window ends" \
    [ "$(post later/a 1)" = 202 ]
case_is "and not run" not said later 1
case_is "nor is one that another follows" [ "$(post later/a 2)" = 202 ]
case_is "which is" until_true 5 got later 2 1

for name in filter band slow latest settled zero one own shared judge poison \
    killer victim asked later; do
    case_is "what came for $name is run, skipped or dropped" \
        until_true 5 adds_up "$name"
done

wait "$ROLLING"
rolled() { [ "$(grep -c '^out/rolling ' "$work/out")" -ge 110 ]; }
case_is "windows that open all the time still end" until_true 10 rolled
case_is "and the broker takes us for alive" not logged 'connection lost'
case_is "so each ran once" [ "$(grep -c '^out/rolling ' "$work/out")" -eq 110 ]

# ---- SIGKILL ----

for name in crash crashown; do
    for d in a b; do
        seq 1 300 | while read -r n; do
            echo "$n"
            ((n % 20)) || sleep 0.1
        done | pub "$name/$d" &
        PUBS+=("$!")
    done
done
for _ in 1 2 3; do
    sleep 0.6
    end "$HOST" KILL
    host
done
wait "${PUBS[@]}"
for name in crash crashown; do
    for d in a b; do
        case_is "$name: after three kills each event of $d counted once" \
            until_true 20 value_is "$name" "$d" n 300
        case_is "$name: none of $d twice" \
            not "$BUILD/moonpool" state get "$name" twice --key "$d" \
            --store "$work/data"
    done
done
case_is "SIGTERM ends it well" end "$HOST"
[ "$CASES_FAILED" -eq 0 ] || { cat "$work/log" "$work/out" | tail -80; cat "$work/metrics"; }
cases_end
