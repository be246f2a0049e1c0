#!/usr/bin/env bash
# long
# reload.sh - SIGHUP and --watch replace what changed, and only that; what
# does not load is told and what was live stays; a second host on the same
# data directory is refused; what is broken when the host starts loses nothing.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT

logged() { grep -q "$1" "$work/log"; }
# A function that answers with a word.
write_echo() {
    mkdir -p "$work/f/$1"
    printf '[function]\nname = %s\nversion = %s\n[trigger in]\nmqtt = %s/in\n[grant]\npublish = %s/out\n' \
        "$1" "$2" "$1" "$1" >"$work/f/$1/function.conf"
    echo "local mp = require 'moonpool'
return function(event) mp.publish('$1/out', '$3') end" >"$work/f/$1/main.lua"
}
# Ask NAME; its answer in ANSWER.
ask() {
    start ASK mosquitto_sub -p "$PORT" -q 1 -C 1 -W 5 -t "$1/out" \
        >"$work/answer"
    sleep 0.2
    mosquitto_pub -p "$PORT" -q 1 -t "$1/in" -m x
    until_true 5 not runs "$ASK"
    ANSWER=$(cat "$work/answer")
}
answers() {
    ask "$1"
    [ "$ANSWER" = "$2" ]
}

start_broker "$work/broker" || exit 1
write_echo one 1.0.0 first
write_echo two 1.0.0 first
start HOST "$BUILD/moonpool-host" --functions "$work/f" --data "$work/data" \
    --mqtt "$URL" --workers 1 2>"$work/log"
until_true 10 logged 'host: ready' || { cat "$work/log"; exit 1; }
case_is "a function answers" answers one first

write_echo one 1.1.0 second
kill -HUP "$HOST"
case_is "SIGHUP is told" until_true 5 logged 'reloaded'
case_is "the changed function is replaced" answers one second
case_is "only that one" not logged 'two: replaced'

echo 'return function(event) this is no Lua end' >"$work/f/one/main.lua"
kill -HUP "$HOST"
case_is "what does not load is told with file and line" \
    until_true 5 logged 'main.lua:1:'
case_is "and what was live stays" answers one second

write_echo three 1.0.0 new
rm -r "$work/f/two"
kill -HUP "$HOST"
case_is "a removed function goes" until_true 5 logged 'two: removed'
case_is "a new one comes" answers three new

"$BUILD/moonpool-host" --functions "$work/f" --data "$work/data" \
    --mqtt "$URL" 2>"$work/second"
case_is "a second host on the same data is refused" [ $? -eq 1 ]
case_is "with a sentence" grep -q 'another moonpool uses' "$work/second"
case_is "SIGTERM ends the first within 5 s" end "$HOST"

# A child of a host that died may have the lock for a moment.
(flock 9 && exec sleep 0.2) 9>>"$work/data/moonpool.lock" &

: >"$work/log"
start HOST "$BUILD/moonpool-host" --functions "$work/f" --data "$work/data" \
    --mqtt "$URL" --workers 1 --watch 2>"$work/log"
until_true 10 logged 'host: ready' || { cat "$work/log"; exit 1; }
write_echo three 1.1.0 saved
case_is "with --watch a save is live" until_true 8 logged 'three: replaced'
case_is "and answers" answers three saved
write_echo four 1.0.0 saved
write_echo three 1.1.1 both
case_is "two saves at once are both live" \
    until_true 8 eval 'logged "host: reloaded functions=2" && answers three both'
mkdir "$work/f/three/tests"
echo '{"about":"never","steps":[{"topic":"three/in","data":"x","expect":{"publish":[]}}]}' \
    >"$work/f/three/tests/no.json"
write_echo three 1.2.0 untested
case_is "a save whose tests fail is not" until_true 8 logged 'its tests fail'
case_is "and what was live stays" answers three both
kill -HUP "$HOST"
case_is "SIGHUP says why it isn't replaced" \
    until_true 8 logged 'three: not replaced; 1.1.1 stays (its tests fail)'
sed -i 's/"publish":\[\]/"outcome":"ok"/' "$work/f/three/tests/no.json"
case_is "a test that is mended is seen" until_true 8 answers three untested
end "$HOST"

# Broken at the start: nothing of it runs, and no reading is lost.
count() { mosquitto_pub -p "$PORT" -q 1 -t "$1/in" -m "$2"; }
counted() { [ "$(sort -u "$work/counted" | grep -c "^$1/out ")" -eq "$2" ]; }
write_counter() {
    write_echo "$1" 1.0.0 x
    echo "local mp = require 'moonpool'
return function(event) mp.publish('$1/out', event.data) end" \
        >"$work/f/$1/main.lua"
}
restart() {
    : >"$work/log"
    start HOST "$BUILD/moonpool-host" --functions "$work/f" \
        --data "$work/data" --mqtt "$URL" --workers 1 2>"$work/log"
    until_true 10 logged 'host: ready' && until_true 5 logged 'mqtt: connected'
}
rm -r "$work/f"
write_counter five
write_counter six
restart || { cat "$work/log"; exit 1; }
end "$HOST"
start SUB mosquitto_sub -p "$PORT" -q 1 -c -i counter -v -t five/out \
    -t six/out >>"$work/counted"
for n in $(seq 30); do
    count five "$n"
    count six "$n"
done
echo 'return function(event) this is no Lua end' >"$work/f/five/main.lua"
case_is "a function that does not load at the start is live all the same" \
    restart
case_is "which is told in one line" \
    logged 'five: .*main.lua:1: .*its events wait on disk until it is mended'
case_is "and counted" logged 'ready functions=2 triggers=2 workers=1 failed=1'
case_is "the other one goes on" until_true 5 counted six 30
count five 31
count six 31
case_is "with what comes now, too" until_true 5 counted six 31
end "$HOST"
echo '[grants]' >>"$work/f/six/function.conf"
case_is "so is one whose function.conf has a mistake" restart
case_is "which is told too" \
    logged 'six: .*its events wait on disk, by its last good function.conf'
case_is "and counted" logged 'ready functions=2 triggers=2 workers=1 failed=2'
count five 32
count six 32
end "$HOST"
count five 33
count six 33
echo '[grants]' >>"$work/f/five/function.conf"
case_is "and where no function can be read" restart
case_is "all of them wait" \
    logged 'ready functions=2 triggers=2 workers=1 failed=2'
write_counter five
write_counter six
kill -HUP "$HOST"
case_is "a good reload is told" until_true 5 logged 'five: mended'
case_is "for each" until_true 5 logged 'six: mended'
case_is "and runs what waited, all of it" until_true 5 counted five 33
case_is "of each" until_true 5 counted six 33
end "$SUB"
end "$HOST"
cases_end
