#!/usr/bin/env bash
# builds: both
#
# examples.sh - what users copy is right: each example passes check and its
# own tests; and `moonpool test` fails when it should, with a sentence.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh

moonpool=$(realpath "${BUILD:-build}")/moonpool
dir=$(mktemp -d)
trap 'end_all; rm -rf "$dir"' EXIT

run() {
    OUT=$("$moonpool" "$@" 2>&1)
    STATUS=$?
}
says() {
    local text
    [ "$STATUS" -eq "$1" ] || { echo "# status $STATUS: $OUT"; return 1; }
    shift
    for text in "$@"; do
        [[ $OUT == *"$text"* ]] && continue
        echo "# no '$text' in: $OUT"
        return 1
    done
}

has_tests() { compgen -G "$1/tests/*.json" >"$dir/tests"; }

for example in overheat fahrenheit normalise runaway cold-chain door-counter \
    watchdog pipeline-clean pipeline-archive energy-report vibration smooth \
    thermostat webhook; do
    run check "examples/$example"
    case_is "$example has no mistakes" says 0
    run test "examples/$example"
    case_is "$example passes its tests" says 0 "ok    "
    # A function nobody tests would pass, too.
    case_is "$example has tests" has_tests "examples/$example"
done
run test examples
case_is "all functions below a directory are tested" says 0 \
    examples/fahrenheit examples/normalise examples/overheat examples/runaway examples/watchdog "0 failed"
run test examples --only "above the limit" --json
case_is "--only picks, --json prints an object a test" says 0 \
    '{"function":"overheat","test":"a reading above the limit raises one alert, others raise none","file":"tests/hot.json","ok":true,"steps":4,'

# ---- tests that fail ----

cp -r examples/overheat "$dir/f"
rm "$dir/f/tests/"*
# fails JSON SENTENCE TEXT: that test fails, with that text.
fails() {
    printf '%s\n' "$1" >"$dir/f/tests/t.json"
    run test "$dir/f"
    case_is "$2" says 1 "FAIL  " "$3" "(tests/t.json)"
}
hot='{"topic":"sensors/a/env","data":{"temp":40}'

fails '{"about":"x","steps":['"$hot"',"expect":{"publish":[{"data":{"temp":41}}]}}]}' \
    "a wrong value is told with its path" \
    'step 1: publish[1].data.temp: expected 41, got 40'
fails '{"about":"x","steps":['"$hot"',"expect":{"publish":[]}}]}' \
    "an effect too many is told" 'step 1: publish: expected '
fails '{"about":"x","steps":['"$hot"',"expect":{"publish":[{"topic":"alerts/b"}]}}]}' \
    "a wrong topic is told" 'publish[1].topic: expected "alerts/b", got "alerts/a"'
fails '{"about":"x","steps":['"$hot"',"expect":{"publish":[{"data":{"temp":41},"topic":"alerts/b"}]}}]}' \
    "and before what else differs" 'publish[1].topic: expected "alerts/b", got "alerts/a"'
fails '{"about":"x","steps":[{"topic":"sensors/a/env","data":"{}"}]}' \
    "ok is expected where nothing is said" 'outcome: expected "ok", got "error": main.lua:6:'
fails '{"about":"x","steps":['"$hot"',"expect":{"outcome":"rejected"}}]}' \
    "a wrong outcome is told" 'outcome: expected "rejected", got "ok"'
fails '{"about":"x","steps":['"$hot"',"expect":{"publsh":[]}}]}' \
    "a misspelt expectation is a mistake" "unknown member 'publsh' in expect; did you mean 'publish'?"
fails '{"about":"x","requests":{},"steps":['"$hot"'}]}' \
    "what a later version takes is refused" "'requests' needs what this version doesn't have yet"
fails '{"about":"x","steps":['"$hot"',"expect":{"notify":[{"path":"/a"}]}}]}' \
    "a notification that isn't there is told" 'notify: expected '
fails '{"about":"x","steps":['"$hot"',"expect":{"state":{"a":{"alerts":2}}}}]}' \
    "a wrong value is told with its actor" 'step 1: state.a.alerts: expected 2, got 1'
fails '{"about":"x","steps":['"$hot"',"expect":{"state":{"a":{"alerts":null}}}}]}' \
    "a value that should be absent is told" 'state.a.alerts: expected null, got 1'
fails '{"about":"x","steps":['"$hot"',"expect":{"state":{"alerts":1}}}]}' \
    "a state without its actor is a mistake" 'expect.state.alerts is an integer; it is written {KEY: {NAME: value}}'
fails '{"about":"x","state":{"a":1},"steps":['"$hot"'}]}' \
    "so it is in the file" "state: 'a' is an integer; it is written {KEY:"
fails '{"about":"x","steps":['"$hot"',"expect":{"send":[{"function":"b"}]}}]}' \
    "a send that isn't there is told" 'send: expected '
fails '{"about":"x","steps":['"$hot"',"expect":{"alarms":[{"nam":"b"}]}}]}' \
    "a misspelt member of an alarm is a mistake" "unknown member 'nam' in expect.alarms; did you mean 'name'?"
fails '{"about":"x","stps":[]}' \
    "a misspelt member of the file is a mistake" "unknown member 'stps' in the test; did you mean 'steps'?"
fails '{"about":"x","steps":[]}' "a test without steps is a mistake" "steps is not a list of events"
fails '{"about":"x","steps":[' "a test that is no JSON is told with its place" "at byte"
fails '{"about":"x","env":{"LIMT":"1"},"steps":['"$hot"'}]}' \
    "a misspelt env is a mistake" "did you mean 'LIMIT'?"
fails '{"about":"x","steps":['"$hot"',"after":"10"}]}' "a duration has a unit" "after: "
fails '{"about":"x","steps":['"$hot"',"expect":{"log":["hot!"]}}]}' \
    "a log line that isn't there is told" 'log[1]: no line has "hot!"'

# ---- the fake clock ----

mkdir -p "$dir/clock/tests"
printf '[trigger t]\nmqtt = clock\n[grant]\npublish = now\n' >"$dir/clock/function.conf"
cat >"$dir/clock/main.lua" <<'LUA'
local mp = require "moonpool"
return function(event)
    mp.sleep(event:decode())
    mp.publish("now", {now = mp.now(), node = mp.node})
    mp.log.info("slept well", {seconds = event.data})
    return mp.now()
end
LUA
cat >"$dir/clock/tests/clock.json" <<'JSON'
{"about": "the clock is a fake one", "time": "2026-03-01T12:00:00Z", "steps": [
 {"topic": "clock", "data": 0, "expect": {"publish": [{"data": {"now": 1772366400, "node": "test"}}]}},
 {"after": "1h", "trigger": "t", "data": 2.5, "expect": {
   "publish": [{"topic": "now", "data": {"now": 1772370002.5}}],
   "result": 1772370002.5, "log": ["slept well seconds=2.5"]}},
 {"topic": "clock", "data": 3600, "expect": {"outcome": "timeout", "publish": [], "log": []}}]}
JSON
begin=$SECONDS
run test "$dir/clock"
case_is "time, after and sleep move a fake clock" says 0 "ok    the clock is a fake one   3 steps"
case_is "and no time of ours" test $((SECONDS - begin)) -lt 3

# ---- what there is not ----

rm -r "$dir/clock/tests"
run test "$dir/clock"
case_is "a function without tests says so" says 0 "clock has no tests"
mkdir "$dir/empty"
run test "$dir/empty"
case_is "a directory without functions is told" says 1 "no function.conf here or below"
run test "$dir/nowhere"
case_is "a path that isn't there is told" says 1 "nowhere: No such file or directory"
run test examples --only nothing-like-it
case_is "--only that finds nothing is told" says 1 "no test has 'nothing-like-it' in it"

cases_end
