#!/usr/bin/env bash
# builds: release
# demo.sh - `make run` without a terminal: alerts and a live line come, and
# SIGINT ends all that it started.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT

# All descendants of a process.
tree() {
    local pid
    # cat goes on where a process has ended meanwhile; awk would not.
    for pid in $(cat /proc/[0-9]*/stat 2>/dev/null | awk -v p="$1" '{
        pid = $1; sub(/^.*\) /, ""); if ($2 == p) print pid }'); do
        echo "$pid"
        tree "$pid"
    done
}
# Is one of these still there, and still what it was?
any_left() {
    local pid
    for pid in $1; do
        [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") =~ moonpool|mosquitto|sensors ]] &&
            return 0
    done
    return 1
}

# demo PORT: run it, look at it, end it.  Its process id in DEMO, the ids of
# all it started in LEFT.
demo() {
    local begin took
    begin=$(date +%s%N)
    start DEMO env MOONPOOL_DEMO_PORT="$1" cli/demo.sh "$BUILD" \
        >"$work/out" 2>"$work/err" </dev/null
    case_is "alerts are on the screen" \
        until_true 10 grep -q 'alert ' "$work/out"
    took=$((($(date +%s%N) - begin) / 1000000))
    echo "first alert after $took ms"
    case_is "the first within 2 s" [ "$took" -lt 2000 ]
    case_is "the live line comes" \
        until_true 10 grep -q 'events/s in' "$work/out"
    LEFT=$(tree "$DEMO")
    case_is "it started a host, a worker, a publisher and more" \
        [ "$(echo "$LEFT" | wc -l)" -ge 3 ]
    end "$DEMO" "$2"
    case_is "SIG$2 is an end with status $3" [ $? -eq "$3" ]
    case_is "and nothing that it started is left" \
        until_true 3 not any_left "$LEFT"
    case_is "nothing goes wrong" \
        not grep -qE ' error |bug:|No such|ended early' "$work/err"
    [ "$CASES_FAILED" -eq 0 ] || head -c 3000 "$work/out" "$work/err"
}

free_port
demo "$PORT" INT 130
case_is "where no broker answers it started one" \
    grep -q 'started a broker' "$work/out"

start_broker "$work/broker"
demo "$PORT" TERM 143
case_is "where one answers it used that" \
    grep -q "using the broker at 127.0.0.1:$PORT" "$work/out"
case_is "which is still there" broker_answers 127.0.0.1 "$PORT"
case_is "and keeps nothing of it" \
    [ -z "$(timeout 5 mosquitto_sub -p "$PORT" -t '#' -W 1 --retained-only 2>/dev/null)" ]
cases_end
