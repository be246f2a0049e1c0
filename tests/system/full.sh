#!/usr/bin/env bash
# long
# full.sh - a database that reaches [store] max_size: nothing fails, it waits
# and says so; what a person deletes makes it go on, and nothing is lost.
# builds: release
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
export MOONPOOL_HOST=

logged() { grep -qE -- "$1" "$work/log"; }
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
mp() { timeout 10 "$BUILD/moonpool" "$@" --store "$work/data"; }
pub() { mosquitto_pub -p "$PORT" -q 1 -t "$1" -l; }
sql() { sqlite3 "$work/data/moonpool.db" "$1"; }
is_full() { logged 'the database is nearly full'; }
has_room() { logged 'the database has room again'; }
no_commit_failed() { not logged 'a commit failed'; }
used() {
    echo $((($(sql 'PRAGMA page_count') - $(sql 'PRAGMA freelist_count')) * \
        4096))
}
# sized BYTES COUNT FROM: a reading a line, "NUMBER BYTES"
sized() {
    local n
    for ((n = $3; n < $3 + $2; n++)); do echo "$n $1"; done
}

# Keeps as many bytes as a reading says.  (Readings are small: all of them fit
# into [store] queue.)
function_of hoard "[trigger in]" "mqtt = hoard/in" "[state]" "quota = 64M" <<'END'
local mp = require "moonpool"
return function(e)
    local n, bytes = e.data:match "^(%d+) (%d+)"
    mp.state.set("v" .. n, ("x"):rep(tonumber(bytes)))
    mp.state.increment("n")
end
END
function_of slow "[trigger in]" "mqtt = slow/in" "[limits]" "timeout = 60s" \
    <<'END'
return function() require "moonpool".sleep(50) end
END
# Each sends one, while readings fill the queue.
function_of pipe "[trigger in]" "mqtt = pipe/in" "[state]" "[limits]" \
    "park_bytes = 64K" "timeout = 60s" "[scale]" "max = 1" <<'END'
local mp = require "moonpool"
return {
    ["in"] = function() mp.sleep(0.02) mp.send("pipe", "s") end,
    send = function() mp.state.increment("n") end,
}
END
start_broker "$work/broker" "max_queued_messages 0" "persistence true" \
    "persistence_location $work/broker/" || exit 1

# ---- one after the other, and then more than there is room for ----

for try in "1M 2000 500" "1M 20000 120" "4M 5000 1500"; do
    read -r max bytes count <<<"$try"
    what="max_size = $max, values of $bytes bytes"
    rm -rf "$work/data"
    host "[store]" "max_size = $max" "[mqtt]" "hold = 100ms"
    sized 100 5 1 | pub slow/in # parked: something to drop
    waits() { [ "$(mp queue ls slow --json | wc -l)" -eq 5 ]; }
    case_is "$what: some wait on disk" until_true 5 waits
    sized "$bytes" 20 1 | while read -r line; do pub hoard/in <<<"$line"; done
    sized "$bytes" "$count" 21 | pub hoard/in
    case_is "$what: it says that it is full" until_true 10 is_full
    done_n() { mp state get hoard n; }
    settled() {
        local before
        before=$(done_n)
        sleep 1.5
        [ "$before" = "$(done_n)" ]
    }
    case_is "$what: and then it stops" until_true 20 settled
    case_is "$what: no commit has failed" no_commit_failed
    no_send() { mp send slow --data x 2>&1 | grep -q 'max_size'; }
    case_is "$what: who sends is told what is full" no_send
    dropped() { mp queue drop --all slow >"$work/drop" 2>&1; }
    case_is "$what: what waits can be dropped" \
        dropped
    case_is "$what: a value can be read" grep -q '^[0-9]' <<<"$(done_n)"
    end "$HOST" KILL
    host "[store]" "max_size = $max" "[mqtt]" "hold = 100ms"
    case_is "$what: after a kill it is still full" until_true 10 is_full
    case_is "$what: still no commit fails" no_commit_failed
    some=$(sql "SELECT name FROM state WHERE fn = 'hoard' AND name LIKE 'v%'
                LIMIT 150")
    n=$(done_n)
    for name in $some; do mp state rm hoard "$name" >>"$work/rm" 2>&1; done
    goes_on() { [ "$(done_n)" -gt "$n" ]; }
    case_is "$what: it goes on with what was made free" until_true 10 goes_on
    case_is "$what: until it is full again" until_true 20 settled
    case_is "$what: no commit has failed at that" no_commit_failed
    case_is "$what: the database stays below max_size" \
        [ "$(used)" -le $((${max%M} << 20)) ]
    end "$HOST"
    host "[store]" "max_size = 64M"
    all_done() { [ "$(done_n)" = "$((count + 20))" ]; }
    case_is "$what: with more room each is counted once" \
        until_true 20 all_done
    case_is "$what: and no commit failed" no_commit_failed
    end "$HOST"
    [ "$CASES_FAILED" -eq 0 ] || {
        tail -n 20 "$work/log" | cut -c1-300
        mp dlq ls | tail -n 3
        done_n
        break
    }
done

# ---- a queue full of events that send ----

rm -rf "$work/data"
host "[store]" "queue = 64K" "[mqtt]" "hold = 50ms"
for ((n = 0; n < 200; n++)); do printf '%0150d\n' "$n"; done | pub pipe/in
all_sent() {
    [ "$(mp queue ls pipe --json | wc -l)" -eq 0 ] &&
        [ "$(mp state get pipe n 2>/dev/null || echo 0)" -ge 100 ]
}
case_is "a queue full of events that send is worked off" \
    until_true 20 all_sent
cases_end
