#!/usr/bin/env bash
# builds: both
#
# invoke.sh - `moonpool invoke` and `moonpool check`'s second half, as a user
# types them: every outcome, what --json promises, and sentences for what is
# wrong.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh

moonpool=$(realpath "${BUILD:-build}")/moonpool
dir=$(mktemp -d)
trap 'end_all; rm -rf "$dir"' EXIT

# run ARG...: its stdout, stderr and status, in OUT, ERR and STATUS.
run() {
    OUT=$("$moonpool" "$@" 2>"$dir/stderr")
    STATUS=$?
    ERR=$(cat "$dir/stderr")
}

# says STATUS TEXT...: it ended so, and each text is in what it said.
says() {
    local text
    [ "$STATUS" -eq "$1" ] || { echo "# status $STATUS: $OUT $ERR"; return 1; }
    shift
    for text in "$@"; do
        [[ $OUT$'\n'$ERR == *"$text"* ]] && continue
        echo "# no '$text' in: $OUT $ERR"
        return 1
    done
}

lacks() { [[ $OUT$ERR != *"$1"* ]] || { echo "# '$1' is in: $OUT $ERR"; return 1; }; }

# lua NAME TEXT: a bare file.  quick NAME TEXT: a function that may use 50 ms.
lua() { printf '%s\n' "$2" >"$dir/$1.lua"; }
quick() {
    mkdir -p "$dir/$1"
    printf '%s\n' '[trigger t]' 'mqtt = t' '[limits]' 'cpu = 50ms' \
        'init_timeout = 50ms' >"$dir/$1/function.conf"
    printf '%s\n' "$2" >"$dir/$1/main.lua"
}

# ---- a function ----

run invoke examples/overheat --topic sensors/kiln-2/env --data '{"temp":31.4}'
case_is "an alert is shown, not sent" says 0 \
    'publish  alerts/kiln-2  qos 1  {"count":1,"temp":31.4}' \
    'state    kiln-2 alerts = 1'
case_is "time and memory are told" \
    grep -qE '^ok  .*s \(start .*s\), [0-9]+ KB of 512 KB$' <<<"$OUT"

run invoke examples/overheat --topic sensors/a/env --data '{"temp":31}' --env LIMIT=50
case_is "--env stands in place of [env]" says 0 "ok  "
case_is "and changes what comes out" lacks "publish"

run invoke examples/overheat --topic sensors/a/env --data '{"temp":31}' --env LIMT=50
case_is "a misspelt --env is told with the right word" says 1 \
    "env 'LIMT' is not in [env] of 'overheat'; did you mean 'LIMIT'?"

run invoke examples/overheat --data '{"temp":31}'
case_is "without a topic it asks for one" says 1 \
    "trigger 'readings' takes many topics (mqtt = sensors/{device}/env)" --topic

run invoke examples/overheat --topic other/topic
case_is "a topic of nobody is told" says 1 "topic 'other/topic' matches no trigger"

run invoke examples/overheat --topic sensors/a/env --trigger reading
case_is "a misspelt trigger is told with the right word" says 1 \
    "no trigger 'reading'; did you mean 'readings'?"

printf '{"topic":"sensors/a/env","data":{"temp":99},"expect":{"publish":[]}}' >"$dir/event.json"
run invoke examples/overheat --event "$dir/event.json"
case_is "a step of a test is an event" says 0 "publish  alerts/a" '"temp":99'
OUT=$("$moonpool" invoke examples/overheat --event - <"$dir/event.json")
STATUS=$? ERR=
case_is "- is stdin" says 0 "publish  alerts/a"
printf '{"topc":"sensors/a/env"}' >"$dir/event.json"
run invoke examples/overheat --event "$dir/event.json"
case_is "an unknown member is told with the right word" says 1 \
    "unknown member 'topc' in the event; did you mean 'topic'?"
printf '{"topic":' >"$dir/event.json"
run invoke examples/overheat --event "$dir/event.json"
case_is "an event that is no JSON is told with its place" says 1 "event.json: " "at byte"

# ---- outcomes, of bare files ----

lua ok 'return function(event) return {topic = event.topic, data = event.data} end'
run invoke "$dir/ok.lua" --data hello
case_is "a bare file runs, and its result is shown" says 0 \
    'result   {"data":"hello","topic":"invoke"}'

lua log 'local mp = require "moonpool"
print "at the start"
return function() mp.log.warn("too \27[31mhot", {temp = 31}) end'
run invoke "$dir/log.lua"
case_is "log lines are shown" says 0 "log      info  at the start" "log      warn  too " "temp=31"
case_is "without the control bytes in them" lacks $'\e'

lua error 'local function inner() return nil + 1 end
return function() inner() end'
run invoke "$dir/error.lua"
case_is "a Lua error comes with file, line and traceback" says 1 \
    "error  " "main.lua:1: attempt to perform arithmetic on a nil value" $'\n\t'

lua rejected 'return function(event) event:decode() end'
run invoke "$dir/rejected.lua" --data '{"half":'
case_is "malformed JSON is rejected" says 1 "rejected  "

quick timeout 'return function() while true do pcall(function() while true do end end) end end'
run invoke "$dir/timeout"
case_is "an endless loop ends at its deadline, pcall or not" says 1 "timeout  " \
    "ran longer than limits.cpu (50ms)"

lua retry 'local mp = require "moonpool"
return function(event) mp.retry("busy", {after = event.data}) end'
run invoke "$dir/retry.lua" --data 90s
case_is "mp.retry is told with its time" says 1 "error  " "retry    asks to be run again in 1m30s" busy
case_is "and without a traceback" lacks "[C]"
run invoke "$dir/retry.lua" --data 90s --json
case_is "in --json, too" says 1 '"retry":{"after":90}'

lua memory 'return function() local t = {} while true do t[#t + 1] = ("x"):rep(999) .. #t end end'
run invoke "$dir/memory.lua"
case_is "allocating without end ends at the limit" says 1 "memory  "

quick killed 'return function() return (("a"):rep(10000)):find((".-"):rep(8) .. "b") end'
run invoke "$dir/killed"
case_is "what no deadline reaches is killed, and it is said why" says 1 \
    "killed  " "the worker had to be killed"

lua sleep 'local mp = require "moonpool"
return function() mp.sleep(0.05) mp.publish("awake", "yes") end'
run invoke "$dir/sleep.lua"
case_is "a sleep is slept and the run goes on" says 0 "publish  awake  qos 1  yes"

# ---- --json ----

run invoke "$dir/ok.lua" --data hello --json
case_is "--json has every field" says 0 '"outcome":"ok"' '"error":null' '"traceback":null' \
    '"result":{"data":"hello","topic":"invoke"}' '"effects":[]' '"log":[]' '"duration_us":' \
    '"memory_bytes":'

run invoke examples/overheat --topic sensors/a/env --data '{"temp":31.4}' --json
case_is "an effect has kind, topic, data, qos and retain" says 0 \
    '"effects":[{"kind":"publish","topic":"alerts/a","data":"{\"count\":1,\"temp\":31.4}","qos":1,"retain":false},{"kind":"state","op":"increment","key":"a","name":"alerts","value":1}]'

lua bytes 'local mp = require "moonpool"
return function() mp.publish("b", "\255\0\1", {retain = true, qos = 0}) end'
run invoke "$dir/bytes.lua" --json
case_is "bytes that are no text come as base64" says 0 \
    '{"kind":"publish","topic":"b","data_base64":"/wAB","qos":0,"retain":true}'

run invoke "$dir/error.lua" --json
case_is "an error is in --json, traceback too" says 1 '"outcome":"error"' \
    '"error":"main.lua:1: attempt to perform arithmetic' '"traceback":"'

run invoke "$dir/killed" --json
case_is "so is a death" says 1 '"outcome":"killed"' '"error":"the worker had to be killed'

lua counts 'local n = 0  return function() n = n + 1  return n end'
run invoke "$dir/counts.lua" --json --repeat 3
case_is "--repeat prints an object a run" test "$(wc -l <<<"$OUT")" -eq 3
case_is "and each run starts from the same state" \
    test "$(grep -c '"result":1,' <<<"$OUT")" -eq 3

run invoke "$dir/killed" --json --repeat 2
case_is "a killed worker is followed by a new one" \
    test "$(grep -c '"outcome":"killed"' <<<"$OUT")" -eq 2

# ---- state, sends, alarms ----

printf '{"a": {"alerts": 41}, "b": {"alerts": 9}}' >"$dir/state.json"
run invoke examples/overheat --topic sensors/a/env --data '{"temp":31}' --state "$dir/state.json"
case_is "--state gives the values of actors" says 0 'state    a alerts = 42'
case_is "and there is nothing to note" lacks "note:"
OUT=$("$moonpool" invoke examples/overheat --topic sensors/a/env --data '{"temp":31}' \
    --state - --repeat 2 <"$dir/state.json")
case_is "- is stdin, also there" test "$(grep -c 'a alerts = 42' <<<"$OUT")" -eq 2
run invoke examples/overheat --topic sensors/a/env --event - --state -
case_is "but not for both" says 2 "--state and --event can't both be stdin"
run invoke examples/overheat --topic sensors/c/env --data '{"temp":31}' --state "$dir/state.json"
case_is "values of others only are noted" says 0 'c alerts = 1' \
    "state.json has no values of the event's actor, \"c\""
printf '{"alerts": 7}' >"$dir/state.json"
run invoke examples/overheat --topic sensors/a/env --data '{"temp":31}' --state "$dir/state.json"
case_is "a state without its actor is a mistake" says 1 \
    "state.json: 'alerts' is an integer; it is written {KEY: {NAME: value}}"
run invoke examples/overheat --topic sensors/a/env --state "$dir/nofile.json"
case_is "a file that isn't there is named once" says 1 "moonpool invoke: there is no $dir/nofile.json"
printf '{"a": {"alerts": null}}' >"$dir/state.json"
run invoke examples/overheat --topic sensors/a/env --data '{"temp":31}' --state "$dir/state.json"
case_is "null is no value" says 1 "state.json: alerts is null"
run invoke examples/normalise --topic raw/a --state "$dir/state.json"
case_is "a function without state takes none" says 1 "'normalise' has no [state] section"
run invoke examples/cold-chain --topic cold/f1/temp --data 9
case_is "alarms and changes are shown" says 0 'alarm    f1 hold  in 10m' \
    'alarm    f1 silent  in 30m' 'state    f1 fridge = {"phase":"warm","temp":9}'
run invoke examples/cold-chain --topic cold/f1/temp --data 9 --json
case_is "and printed as objects" says 0 '{"kind":"alarm","name":"hold","key":"f1","due":"2' \
    ',"after":600,' '{"kind":"state","op":"set","key":"f1","name":"fridge","value":{"phase":"warm","temp":9}}'
run invoke examples/pipeline-clean --topic plant/p4/raw --data '{"pressure":2}'
case_is "a send is shown" says 0 'send     pipeline-archive  key p4  {"bar":2,"machine":"p4"}'
run invoke examples/pipeline-archive --trigger send --data '{"bar":2}'
case_is "the event of a send can be played" says 0 'state    sum = 2'

# ---- what doesn't load ----

lua syntax 'return function( end'
run invoke "$dir/syntax.lua"
case_is "a syntax error is told" says 1 "error  " "main.lua:1:"
run invoke "$dir/syntax.lua" --json
case_is "--json prints its object then, too" says 1 '"outcome":"error"' main.lua:1: '"effects":[]'
quick hang 'while true do end'
run invoke "$dir/hang" --json
case_is "a file that doesn't end is a timeout" says 1 '"outcome":"timeout"' \
    "limits.init_timeout (50ms)"
lua nothing 'local x = 1'
run invoke "$dir/nothing.lua"
case_is "a file that returns no handler is told" says 1 "error  " "handler"
mkdir "$dir/nowhere"
OUT=$(cd "$dir/nowhere" && "$moonpool" invoke 2>&1)
STATUS=$? ERR=
case_is "without a function it says what it wants" says 1 "there is no main.lua here" "moonpool invoke PATH"
run invoke "$dir/missing.lua" --json
case_is "a missing file is told, with its object" says 1 "missing.lua" '"outcome":"error"'

mkdir "$dir/typo"
printf '[trigger readings]\nmqtt = a\n' >"$dir/typo/function.conf"
printf 'return {redings = function() end}\n' >"$dir/typo/main.lua"
run invoke "$dir/typo"
case_is "a trigger without handler is told" says 1 "main.lua: no handler for trigger 'readings'; the table has: redings"
case_is "a handler without trigger too" says 1 "handler 'redings' names no trigger; did you mean 'readings'?"
printf '[trigger readings]\nmqqt = a\n' >"$dir/typo/function.conf"
run invoke "$dir/typo" --json
case_is "a mistake in function.conf is told, with its object" says 1 \
    "function.conf:2: unknown key 'mqqt'" '{"outcome":"error"'

# ---- requests, batches, secrets ----

mkdir "$dir/doors"
cat >"$dir/doors/function.conf" <<'END'
[function]
name = doors
timezone = Europe/Paris
[trigger set]
coap = PUT /rooms/{room}
[trigger get]
coap = GET /rooms/{room}
observe = yes
[trigger many]
mqtt = m/{d}
filter = data > 0
batch = 3 per {d} within 1s
[grant]
secret = HOOK_KEY
END
cat >"$dir/doors/main.lua" <<'END'
local mp = require "moonpool"
local on = {}
function on.set(e)
    mp.notify("/rooms/" .. e.params.room, e.data, {max_age = "5m"})
    return mp.reply(204, nil, {headers = {etag = "7"}})
end
function on.get(e)
    return {unit = e.query.unit, summer = os.date("%H:%M", 1751371200), key = mp.secret("HOOK_KEY")}
end
function on.many(e)
    for _, m in ipairs(e.events) do
        if m.data == "7" then m:reject("odd") end
        if m.data == "8" then m:retry("busy") end
    end
    return #e.events
end
return on
END
echo "a long secret" >"$dir/key"
chmod 600 "$dir/key"
key=(--secret "HOOK_KEY=file:$dir/key")

run check "$dir/doors"
case_is "check asks for no secret" says 0
run invoke "$dir/doors" "${key[@]}" --path "PUT /rooms/b%20a" --data 21
case_is "a request finds its trigger, and observers are told" says 0 \
    "notify   /rooms/b a  for 5m  21" '{"status":204,"data":"","headers":{"etag":"7"}}'
run invoke "$dir/doors" "${key[@]}" --path "GET /rooms/1?unit=C+x"
case_is "a query is read; os.date has the function's zone" says 0 '"unit":"C x"' '"summer":"14:00"'
case_is "a secret is shown nowhere" says 0 '"key":"***"'
run invoke "$dir/doors" --path "GET /rooms/1"
case_is "a secret that is missing is told, with its cure" says 1 \
    "secret HOOK_KEY of 'doors' is missing; give it with --secret HOOK_KEY=file:FILE or HOOK_KEY=env:NAME"
run invoke "$dir/doors" --trigger zz
case_is "a trigger that is none is told first" says 1 "'doors' has no trigger 'zz'"
run invoke "$dir/doors" --secret HOOK_KEY=abc --path "GET /rooms/1"
case_is "a secret that stands there itself is refused" says 2 \
    "--secret HOOK_KEY=file:FILE or HOOK_KEY=env:NAME"
case_is "and not repeated" not grep -q abc "$dir/stderr"
run invoke "$dir/doors" "${key[@]}" --path "DELETE /rooms/1"
case_is "a method that nobody answers is told" says 1 "answered by no trigger (only GET, PUT)"
run invoke "$dir/doors" "${key[@]}" --path /x --topic m/a
case_is "a topic and a path are two events" says 2 "--path"
run invoke "$dir/doors" "${key[@]}" --topic m/a --data 0
case_is "what the filter skips is not run" says 1 "skipped by filter"
printf '{"events":[{"topic":"m/a","data":8},{"topic":"m/a","data":1},{"topic":"m/a","data":7}]}' \
    >"$dir/batch.json"
run invoke "$dir/doors" "${key[@]}" --event "$dir/batch.json"
case_is "a batch says how its events end" says 0 "retry    1: busy" "reject   3: odd" "result   3"
run invoke "$dir/doors" "${key[@]}" --event "$dir/batch.json" --json
case_is "and so does --json" says 0 \
    '"verdicts":[{"event":1,"retry":"busy"},{"event":3,"reject":"odd"}]'

# ---- usage ----

run invoke "$dir/ok.lua" --repeat many
case_is "--repeat takes a number" says 2 "--repeat takes a number"
run invoke "$dir/ok.lua" --jsn
case_is "a misspelt flag is told with the right word" says 2 "'--jsn'" "--json"

cases_end
