#!/usr/bin/env bash
# builds: both
# admin.sh - a person asks a running host: dead letters, the queue, state and
# events by hand, over DATA/moonpool.sock; and the database when none runs.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
export MOONPOOL_HOST=

# mp VERB...: with the data directory of this test; its status in $status.
mp() {
    "$BUILD/moonpool" "$@" --store "$work/data" >"$work/out" 2>"$work/err"
    status=$?
    return "$status"
}
out_is() { [ "$(cat "$work/out")" = "$1" ]; }
out_has() { grep -qF -- "$1" "$work/out"; }
out_err_is() { [ "$(cat "$work/out" "$work/err")" = "$1" ]; }
err_has() { grep -qF -- "$1" "$work/err"; }
logged() { grep -q "$1" "$work/log"; }
pub() { mosquitto_pub -p "$PORT" -q 1 -t "$1" -m "$2"; }
# exits STATUS VERB...
exits() {
    local want=$1
    shift
    mp "$@"
    [ "$status" -eq "$want" ]
}
letters() { mp dlq ls --json && [ "$(wc -l <"$work/out")" -eq "$1" ]; }
waiting() { mp queue ls meter --json && [ "$(wc -l <"$work/out")" -eq "$1" ]; }
value_is() { mp state get "$1" "$2" --key "$3" && out_is "$4"; }
# ask METHOD PATH [BODY]: raw HTTP; the answer in $work/answer.
ask() {
    curl -sS -i --max-time 10 --unix-socket "$work/data/moonpool.sock" \
        -X "$1" ${3+--data-binary "$3"} "http://moonpool$2" \
        >"$work/answer" 2>"$work/err"
}
# answers STATUS METHOD PATH [BODY]
answers() {
    local want=$1
    shift
    ask "$@"
    grep '^HTTP' "$work/answer" | tail -n 1 | grep -q " $want "
}
says() { grep -qF -- "$1" "$work/answer"; }

start_host() {
    : >"$work/log"
    start HOST "$BUILD/moonpool-host" --functions "$work/f" \
        --data "$work/data" --mqtt "$URL" --workers 1 2>>"$work/log"
    until_true 20 logged 'host: ready' || { cat "$work/log"; exit 1; }
}

# ---- functions: one that counts per device and refuses what is negative ----

mkdir -p "$work/f/meter" "$work/f/plain"
cat >"$work/f/meter/function.conf" <<'END'
[function]
version = 1.0.0
[trigger readings]
mqtt = meter/{device}
[state]
key = {device}
[grant]
publish = out/#
END
cat >"$work/f/meter/main.lua" <<'END'
local mp = require "moonpool"
return function(event)
    local n = tonumber(event.data)
    if not n then error("no number: " .. event.data) end
    return mp.state.increment("n", n)
end
END
printf '[trigger t]\nmqtt = plain\n' >"$work/f/plain/function.conf"
echo 'return function(e) return e.type .. "/" .. e.trigger .. "/" .. e.data end' \
    >"$work/f/plain/main.lua"

mkdir "$work/f/slow"
printf '[trigger t]\nmqtt = slow\n[limits]\ntimeout = 1m\n' \
    >"$work/f/slow/function.conf"
echo 'return function() require "moonpool".sleep(50) end' \
    >"$work/f/slow/main.lua"

mkdir "$work/f/sender"
printf '[trigger t]\nmqtt = sender\n[grant]\nsend = nobody\n' \
    >"$work/f/sender/function.conf"
echo 'return function() require "moonpool".send("nobody", "x") end' \
    >"$work/f/sender/main.lua"

mkdir "$work/f/bell"
printf '[trigger t]\nmqtt = bell\n' >"$work/f/bell/function.conf"
echo 'return function(e)
    require "moonpool".alarm.set("ring", {after = "1h", data = e.data})
end' >"$work/f/bell/main.lua"

start_broker "$work/broker" || exit 1

# ---- nobody there ----

case_is "without a host and without data there is nobody to ask" \
    exits 3 dlq ls
case_is "and the directory that isn't there is named" \
    err_has 'data: there is no such directory'
case_is "an empty path is told" exits 2 dlq ls --host ''
help_fits() {
    local verb
    for verb in run new check test invoke send state dlq queue secret; do
        "$BUILD/moonpool" "$verb" --help
    done | awk 'length > 80 { wide = 1 } END { exit wide || NR < 50 }'
}
case_is "help fits a terminal" help_fits
start_host
case_is "the host has a socket that others can't use" \
    [ "$(stat -c %a "$work/data/moonpool.sock")" = 660 ]
case_is "a host that nobody asks carries no HTTP server" \
    not grep -q libmicrohttpd "/proc/$HOST/maps"

# ---- an event by hand ----

case_is "send tells the id" exits 0 send plain --data hi
case_is "which is one line" [ "$(wc -w <"$work/out")" -eq 1 ]
case_is "now it does" grep -q libmicrohttpd "/proc/$HOST/maps"
case_is "send --wait tells the outcome" exits 0 send plain --data hi --wait
case_is "with what came back" out_has 'send/send/hi'
case_is "as if it came by a trigger" \
    exits 0 send plain --trigger t --data x --wait
case_is "of that type" out_has 'mqtt/t/x'
case_is "a trigger that isn't there is told" \
    exits 1 send plain --trigger u --data x
case_is "with its name" err_has "'plain' has no trigger 'u'"
case_is "a function that isn't there is told" exits 1 send nothing
case_is "one with a key is asked for it" exits 1 send meter --data 1
case_is "in a sentence" err_has "'meter' has a [state] key: give --key"
case_is "by a trigger, too" exits 1 send meter --data 1 --trigger readings
case_is "which is 400" answers 400 POST /v1/functions/meter/send 1
case_is "an outcome that isn't ok is exit 1" \
    exits 1 send meter --key a --data bad --wait
case_is "with the error" out_has 'no number: bad'

# ---- state ----

pub meter/d1 5
pub meter/d2 7
case_is "values are there as soon as an event is done" \
    until_true 5 value_is meter n d1 5
actors_are() { mp state actors meter && out_is "$1"; }
case_is "actors are listed" until_true 5 actors_are "d1
d2"
case_is "a value can be set" exits 0 state set meter n 40 --key d1
pub meter/d1 2
case_is "and the next event sees it" until_true 5 value_is meter n d1 42
mp state set meter name '"x\u00e9 \"q\""' --key d1
mp state ls meter --key d1
case_is "a list has names and values" out_has '"xé \"q\""'
case_is "a value that is no JSON is told" \
    exits 2 state set meter n oops --key d1
case_is "with how it is written" err_has "'\"oops\"'"
case_is "null is no value" exits 2 state set meter n null --key d1
case_is "and the way to remove one is told" err_has 'moonpool state rm'
case_is "a dump that isn't there is told" exits 1 state restore meter /no/dump
case_is "once" out_err_is 'moonpool state: there is no /no/dump'
case_is "a function without [state] has none" exits 1 state ls plain
case_is "and that is said" err_has 'no [state] section'
mp state dump meter
cp "$work/out" "$work/dump.json"
full_disk() {
    "$BUILD/moonpool" state dump meter --store "$work/data" >/dev/full \
        2>"$work/err"
    [ $? -eq 1 ] && err_has 'No space left'
}
case_is "a dump that a full disk cuts short is none" full_disk
case_is "a dump has every actor" \
    grep -q '"d2": {' "$work/dump.json"
mp state rm meter n --key d2
case_is "a value can be removed" exits 1 state get meter n --key d2
case_is "what is not there can't be removed" exits 1 state rm meter n --key d2
case_is "and that is said" err_has "'meter' has no value 'n' for the key 'd2'"
case_is "nor without saying which" exits 2 state rm meter --key d2
case_is "nor by a prefix, which would be more than meant" \
    exits 2 state rm meter --key d2 --all --prefix m
case_is "what is missing is named" exits 2 state ls
case_is "by its name" err_has 'FUNCTION is missing'
mp state set meter m 1 --key d2
mp state set meter n 1 --key d2
case_is "an actor is cleared" exits 0 state rm meter --key d2 --all
case_is "of all it has" err_has '2 removed'
case_is "others are left alone" value_is meter n d1 42
seq -f '"d%.0f": {"n": 1, "m": 2},' 100 299 >"$work/many.json"
printf '{%s "": {"own": 3}}' "$(cat "$work/many.json")" >"$work/many"
mp state restore meter "$work/many"
case_is "a function is cleared, page by page" exits 0 state rm meter --all
case_is "with all actors and its own" err_has '403 removed'
mp state actors meter
case_is "none is left" [ ! -s "$work/out" ]
mp state restore meter "$work/dump.json"
case_is "restoring brings it back" value_is meter n d2 7

# ---- sent to nobody ----

case_is "a function that isn't there is named, with a near one" \
    exits 1 send sendr
case_is "in a sentence" \
    err_has "there is no function 'sendr'; did you mean 'sender'?"
mp send sender --wait
mp queue ls nobody
case_is "what is sent to a function that isn't there is told so" \
    out_has 'send, no such function'
case_is "and can be dropped" exits 0 queue drop nobody --all

case_is "a function's name is no part of a path" \
    exits 1 queue drop 'nobody&limit=1' --all
case_is "nor cut short" exits 1 queue ls "nobody$(printf '%080d' 0)"
case_is "what is missing is told in a word" exits 2 queue
case_is "and how all of it is written" err_has 'queue: ls|drop is missing; usage'

# ---- alarms ----

mp send bell --data x --wait
case_is "an alarm is listed with what waits" exits 0 queue ls bell
case_is "by its name" grep -q 'bell .* in 60 min  alarm .* ring$' "$work/out"
case_is "as JSON, too" exits 0 queue ls --json
case_is "with when it is due" grep -q '"alarm":"ring".*"due":"2' "$work/out"
mp queue drop bell --all
case_is "drop leaves it alone" err_has '0 dropped'
mp queue ls bell
case_is "where it was" out_has ring

# ---- dead letters ----

case_is "what failed by send is a dead letter" until_true 5 letters 1
id=$(sed 's/.*"id":\([0-9]*\).*/\1/' "$work/out")
mp dlq ls meter
case_is "the list has a line with its error" out_has 'no number: bad'
mp dlq show "$id"
case_is "show is for people" out_has "dead letter $id of meter 1.0.0"
mp dlq show "$id" --json
case_is "and with --json a step of a test" out_has '"data":"bad"'
cp "$work/out" "$work/event.json"
case_is "replayed it fails again" exits 0 dlq replay "$id"
case_is "and is another letter" until_true 5 letters 1
case_is "the first one is gone" exits 1 dlq show "$id"
mp dlq ls --json
id=$(sed 's/.*"id":\([0-9]*\).*/\1/' "$work/out")
case_is "one of another function is left alone" exits 1 dlq drop plain "$id"
case_is "and that is said" err_has "is of 'meter', not of 'plain'"
case_is "all is not one" exits 2 dlq drop "$id" --all
sed -i 's/if not n then.*/n = n or 100/' "$work/f/meter/main.lua"
kill -HUP "$HOST"
until_true 10 logged 'host: reloaded'
case_is "after a fix all are replayed" exits 0 dlq replay --all
case_is "none is left" until_true 5 letters 0
case_is "and the event counts" until_true 5 value_is meter n a 100
case_is "which one needs saying" exits 2 dlq drop meter

# ---- raw HTTP ----

case_is "healthz answers" answers 200 GET /healthz
case_is "readyz answers" answers 200 GET /readyz
case_is "metrics are text" answers 200 GET /metrics
case_is "with their names" says 'moonpool_build_info'
case_is "what isn't there is 404" answers 404 GET /v1/nothing
case_is "and problem details" says 'application/problem+json'
case_is "a wrong method is 405" answers 405 PUT /v1/queue
case_is "a wrong parameter is 400" answers 400 GET '/v1/queue?limit=x'
head -c 1100000 /dev/zero | tr '\0' a >"$work/big"
case_is "a body past 1 MiB is 413" \
    answers 413 POST /v1/functions/plain/send "@$work/big"
case_is "a state's value is read" \
    answers 200 GET '/v1/functions/meter/state/n?key=d1'
case_is "as JSON" says '"value":42'

turned_away() { not mp dlq ls && err_has 'too many clients ask at once'; }
# Clients that connect and say nothing: all at once, however busy the machine
# is, as the first of them are cut off after 10 s.
if command -v python3 >/dev/null; then
    start SILENTS python3 -c '
import socket, sys, time
clients = [socket.socket(socket.AF_UNIX) for n in range(20)]
for s in clients:
    s.connect(sys.argv[1])
time.sleep(60)' "$work/data/moonpool.sock"
    # Not by curl, which reads no answer that came before it had asked.
    case_is "past sixteen clients one is told so" until_true 5 turned_away
    case_is "and who says nothing is cut off after a while" \
        until_true 15 answers 200 GET /healthz
    end "$SILENTS"
fi

# ---- who waits ----

for ((n = 0; n < 18; n++)); do
    timeout 0.3 "$BUILD/moonpool" send slow --wait --store "$work/data"
done >"$work/out" 2>&1
case_is "clients that gave up waiting lock nobody out" answers 200 GET /healthz
mp queue drop slow --all
start WAITER "$BUILD/moonpool" send plain --wait --trigger t --data x \
    --store "$work/data" >"$work/waiter" 2>&1
until_true 5 grep -q mqtt/t/x "$work/waiter"
end "$WAITER"
start WAITER "$BUILD/moonpool" send slow --wait --store "$work/data" \
    >"$work/waiter" 2>&1
slow_waits() { mp queue ls slow --json && [ -s "$work/out" ]; }
until_true 5 slow_waits

# ---- the host ends; then the database itself ----

pub meter/d1 oops
until_true 5 value_is meter n d1 142
end "$HOST"
wait "$WAITER"
case_is "who waits is told that the host stops" \
    grep -q 'the host is stopping' "$work/waiter"
case_is "a host that stops takes its socket away" \
    [ ! -e "$work/data/moonpool.sock" ]
case_is "send needs a host" exits 3 send plain --data x
case_is "and says so" err_has 'moonpool send needs a running host'
case_is "without one the database answers" value_is meter n d1 142
mp state actors meter
case_is "with its actors" out_has d2
case_is "a function that isn't there has no state" exits 1 state ls nofunc
case_is "and that is said" err_has "no state of a function 'nofunc'"
mp state set meter m 1 --key d9
case_is "an actor is cleared there" exits 0 state rm meter --key d9 --all
case_is "what is not there can't be removed there" \
    exits 1 state rm meter m --key d9
mp queue ls bell
case_is "alarms are listed there" out_has ring
mp queue drop slow --all
case_is "changes are made there" exits 0 state set meter n 1000 --key d1
sed -i 's/n = n or 100/if not n then error("no") end/' "$work/f/meter/main.lua"
start_host
pub meter/d1 1
case_is "and the host begins with them" until_true 5 value_is meter n d1 1001
pub meter/d1 nope
case_is "a letter is there" until_true 5 letters 1
end "$HOST" KILL
case_is "after kill -9 the stale socket is no host" letters 1
sed -i 's/if not n then error("no") end/n = n or 100/' "$work/f/meter/main.lua"
case_is "without a host replaying fills the queue" exits 0 dlq replay --all
case_is "where it waits" waiting 1
start_host
case_is "until a host runs it" until_true 5 value_is meter n d1 1101
case_is "once" waiting 0
end "$HOST"

# ---- a function that goes ----

start_host
sed -i '/^\[state\]/,/^key/d' "$work/f/meter/function.conf"
kill -HUP "$HOST"
until_true 10 logged 'host: reloaded'
case_is "what a function without [state] had can be listed" \
    value_is meter n d1 1101
case_is "and not added to" exits 1 state set meter n 1 --key d1
rm -r "$work/f/meter"
kill -HUP "$HOST"
until_true 10 logged 'meter: removed'
case_is "what a function had that is gone, too" value_is meter n d1 1101
case_is "and removed" exits 0 state rm meter --all
case_is "then there is none" exits 1 state ls meter
case_is "and that is said" err_has "no function 'meter', nor state of it"
end "$HOST"

# ---- a directory that is closed ----

as_nobody() {
    if [ "$(id -u)" -eq 0 ]; then
        setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
    else
        "$@"
    fi
}
shut_is_told() {
    as_nobody "$BUILD/moonpool" dlq ls --store "$work/shut" 2>"$work/err"
    [ $? -eq 3 ] && err_has "shut can't be read: Permission denied"
}
chmod 755 "$work"
mkdir -m 0 "$work/shut"
case_is "a directory that is closed is told as such" shut_is_told

# ---- a lock without an answer ----

start HOLDER flock "$work/data/moonpool.lock" sleep 60
until_true 5 not flock -n "$work/data/moonpool.lock" true
case_is "a lock that somebody holds is respected" exits 3 state ls meter
case_is "and told" err_has 'does not answer'
end "$HOLDER"
[ "$CASES_FAILED" -eq 0 ] || cat "$work/log"
cases_end
