#!/usr/bin/env bash
# run.sh - make bench: what moonpool costs, each row beside its ceiling.
#
#   tests/bench/run.sh BUILD
#
# Medians of MOONPOOL_BENCH_RUNS (7) runs.  Runs of moonpool and of what it
# is compared to alternate, and who begins changes from run to run, so that a
# machine that gets slower gets slower for all; the ratio is the median of
# the ratios of the pairs.  Every MQTT run has a broker of its own on a free
# loopback port, started for it: max_queued_messages 0 (at 1000 mosquitto
# drops silently), max_inflight_messages 1000, persistence false.
#
# Rows, as TAB-separated lines in build/bench/rows and then as the table and
# build/bench.json:  NAME UNIT VALUE MIN MAX CEILING RATIO WANTED
# MOONPOOL_BENCH_ONLY=coap,http runs only these parts; all stand at `parts`.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
export LC_ALL=C

build=${1:?usage: run.sh BUILD}
runs=${MOONPOOL_BENCH_RUNS:-7}
parts=fresh,filter,pipeline,mqtt,steady,durable,alarms,coap,http,footprint
only=${MOONPOOL_BENCH_ONLY:-$parts}
work=$build/bench/work
rows=$build/bench/rows
count=100000
modes=(loop own gather)
failed=0
rm -rf "$work"
mkdir -p "$work"
: >"$rows"

say() { echo "bench: $*" >&2; }
lost() {
    say "$*"
    failed=1
}

# ---- numbers ----

# median/least/most of the numbers on stdin
spread() {
    grep -v NA | sort -g | awk '{v[NR] = $1} END {
        if (!NR) exit
        m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
        print m, v[1], v[NR] }'
}

# row NAME UNIT "VALUE MIN MAX" CEILING RATIO WANTED
row() {
    local value min max
    read -r value min max <<<"$3"
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "${value:--}" \
        "${min:--}" "${max:--}" "${4:--}" "${5:--}" "${6:--}" >>"$rows"
}

# field NAME: of the flat JSON object on stdin
field() { sed -n "s/.*\"$1\": *\([-0-9.e+]*\).*/\1/p" | tail -n 1; }

# Processor time of a process and its children (the workers) in seconds.
cpu_of() {
    local pid
    for pid in "$1" $(children "$1"); do
        cat /proc/"$pid"/task/*/schedstat
    done 2>/dev/null | awk '{s += $1} END {printf "%.6f\n", s / 1e9}'
}
children() {
    awk -v p="$1" 'FNR == 1 {
        pid = $1; sub(/^.*\) /, ""); if ($2 == p) print pid }' \
        /proc/[0-9]*/stat 2>/dev/null
}

# ---- one run behind a broker ----

broker() {
    start_broker "$work/broker" "max_queued_messages 0" \
        "max_inflight_messages 1000" "persistence false"
}

only_function() {
    local name
    rm -rf "$work/functions"
    mkdir -p "$work/functions"
    for name in "$@"; do
        cp -r "tests/bench/functions/$name" "$work/functions/"
    done
}

# subject NAME: starts moonpool with a function of tests/bench/functions, a
# mode of the ceiling, or the bare counter; its id in SUBJECT.
subject() {
    : >"$work/subject.log"
    if [[ $1 == moonpool* || $1 == durable ]]; then
        rm -rf "$work/data"
        only_function "${function:-overheat}"
        start SUBJECT "$build/moonpool" run --functions "$work/functions" \
            --data "$work/data" --mqtt "$URL" --workers 1 \
            --log-format text >"$work/subject.log" 2>&1
    elif [[ $1 == counter* ]]; then
        rm -rf "$work/data"
        mkdir -p "$work/data"
        start SUBJECT "$build/bench/counter" "$PORT" "$work/data/counter.db" \
            ${1#counter} >"$work/subject.log" 2>&1
    else
        start SUBJECT "$build/bench/ceiling" "$PORT" "$1" \
            >"$work/subject.log" 2>&1
    fi
    until_true 10 subject_decided
    grep -qw ready "$work/subject.log" && return
    lost "$1 does not get ready:"
    cat "$work/subject.log" >&2
    return 1
}
subject_decided() {
    grep -qw ready "$work/subject.log" || not runs "$SUBJECT"
}

# watcher COMMAND...: the alerts program, once it has subscribed.
watcher() {
    : >"$work/alerts.log"
    start WATCHER "$build/bench/alerts" "$PORT" "$@" >"$work/alerts.log" 2>&1
    until_true 10 grep -qw ready "$work/alerts.log"
}

# flood NAME: count readings as fast as they go, one of `every` is answered.
# Appends to NAME.rate (readings/s) and NAME.cpu (seconds per 100,000).
# The time is that from the first answer to the last: before_first readings
# came before it.
every=10
before_first=0
flood() {
    local name=$1 before after got
    broker || return 1
    subject "$name" || return 1
    watcher count $((count / every)) || return 1
    before=$(cpu_of "$SUBJECT")
    "$build/sensors" --mqtt "$URL" --devices 100 --count "$count" \
        >"$work/sensors.log" 2>&1 || lost "sensors failed, see $work/sensors.log"
    wait "$WATCHER"
    after=$(cpu_of "$SUBJECT")
    got=$(field received <"$work/alerts.log")
    [ "${got:-0}" -eq $((count / every)) ] || {
        lost "$name: ${got:-0} alerts of $((count / every))"
        return 1
    }
    field seconds <"$work/alerts.log" |
        awk -v n="$((count - before_first))" '{printf "%.0f\n", n / $1}' \
            >>"$work/$name.rate"
    awk -v a="$before" -v b="$after" 'BEGIN {print b - a}' >>"$work/$name.cpu"
    field duplicates <"$work/alerts.log" >>"$work/$name.duplicates"
    [ -n "${flood_keeps:-}" ] || end_all
}

# steady NAME: 2,000 readings/s for 5 s.  NAME.p50 and NAME.p99, ms.
steady() {
    local name=$1 p
    broker || return 1
    subject "$name" || return 1
    watcher steady 2000 5 || return 1
    wait "$WATCHER"
    [ "$(field received <"$work/alerts.log")" -eq 1000 ] || return 1
    for p in p50 p99; do
        field "${p}_us" <"$work/alerts.log" |
            awk '{printf "%.3f\n", $1 / 1000}' >>"$work/$name.$p"
    done
    end_all
}

# all FUNCTION RUN METRIC...: moonpool and the modes, beginning with another
# each run.  A run that failed leaves NA, so that pairs stay pairs.
all() {
    local what=$1 run=$2 names=("${subject:-moonpool}" "${modes[@]}") i name
    local metric
    shift 2
    for i in "${!names[@]}"; do
        name=${names[(i + run) % ${#names[@]}]}
        "$what" "$name" && continue
        lost "$name: run $run of $what is missing"
        end_all
        for metric in "$@"; do
            echo NA >>"$work/$name.$metric"
        done
    done
}

# best_mode METRIC -r|-s: the mode with the largest or least median.
best_mode() {
    local metric=$1 order=$2 mode
    # -s only says `as it is`, least first
    for mode in "${modes[@]}"; do
        [ -s "$work/$mode.$metric" ] || continue
        echo "$(spread <"$work/$mode.$metric" | cut -d' ' -f1) $mode"
    done | sort -g "$order" | head -n 1 | cut -d' ' -f2
}

# Median of the paired ratios of moonpool to a mode.
ratio() {
    paste "$work/${subject:-moonpool}.$1" "$work/$2.$1" |
        awk '$1 != "NA" && $2 > 0 {printf "%.3f\n", $1 / $2}' | spread |
        cut -d' ' -f1
}

# compared NAME UNIT METRIC MODE WANTED
compared() {
    local mine=$work/${subject:-moonpool}.$3
    [ -s "$mine" ] || return
    row "$1 (ceiling: $4)" "$2" "$(spread <"$mine")" \
        "$(spread <"$work/$4.$3" | cut -d' ' -f1)" "$(ratio "$3" "$4")" "$5"
}

# ---- one run of questions and answers ----

# answerer NAME: coap or http, that is the host with a function that answers,
# or the bare library's program; on a free port, its id in SUBJECT.
answerer() {
    : >"$work/subject.log"
    free_port
    case $1 in
        *_bare)
            start SUBJECT "$build/bench/$1" "$PORT" >"$work/subject.log" 2>&1
            ;;
        *)
            only_function "$1-answer"
            answering_host
            ;;
    esac
    until_true 10 answerer_decided "$1"
    runs "$SUBJECT" && answers "$1" && return
    lost "$1 does not answer:"
    cat "$work/subject.log" >&2
    return 1
}
answering_host() {
    rm -rf "$work/data"
    {
        echo "[coap]"
        echo "listen = coap://127.0.0.1:$PORT"
        echo "[http]"
        echo "listen = 127.0.0.1:$PORT"
        echo "connections = 256" # wrk has one address, that is, a quarter
    } >"$work/host.conf"
    start SUBJECT "$build/moonpool" run --config "$work/host.conf" \
        --functions "$work/functions" --data "$work/data" --workers 1 \
        --log-format text >"$work/subject.log" 2>&1
}
answerer_decided() { answers "$1" || not runs "$SUBJECT"; }
answers() {
    case $1 in
        coap*) coap_ask 1 1 ;;
        http*) curl -sf -o "$work/asked" "http://127.0.0.1:$PORT/bench" ;;
    esac
}
coap_ask() {
    "$build/coap_load" --port "$PORT" --peers "$1" --count "$2" --expect ok \
        >"$work/load.log" 2>"$work/load.err"
}

# One who asks one thing at a time needs one core.  On several the scheduler
# may wake each on another, asleep by then, which a virtual machine pays with
# tens of microseconds: so latency is measured both ways.
cores=$(taskset -cp $$ | sed 's/.*: //')
# on_cores CORES COMMAND...: it, the subject and its workers run there.
on_cores() {
    local cpus=$1 pid
    shift
    for pid in "$SUBJECT" $(children "$SUBJECT"); do
        taskset -a -cp "$cpus" "$pid" >"$work/taskset.log" 2>&1
    done
    taskset -cp "$cpus" $$ >"$work/taskset.log"
    "$@"
    local rc=$?
    [ "$cpus" = "$cores" ] || on_cores "$cores" true
    return "$rc"
}

# ask_coap NAME: NAME.alone, the p50 of one peer in us, NAME.core, that on one
# core; NAME.rate of 16.
ask_coap() {
    answerer "$1" || return 1
    on_cores "${cores%%[-,]*}" coap_ask 1 20000 || return 1
    field p50_us <"$work/load.log" >>"$work/$1.core"
    coap_ask 1 20000 || return 1
    field p50_us <"$work/load.log" >>"$work/$1.alone"
    coap_ask 16 200000 || return 1
    field rate <"$work/load.log" >>"$work/$1.rate"
    end_all
    return 0 # a bare program ends by the signal
}

# ask_wrk CONNECTIONS SECONDS: its report in load.log; 1: an answer was wrong.
ask_wrk() {
    wrk -t1 -c"$1" -d"$2"s --latency "http://127.0.0.1:$PORT/bench" \
        >"$work/load.log" 2>"$work/load.err" &&
        not grep -q 'Non-2xx\|Socket errors' "$work/load.log"
}
wrk_p50() { # in us
    awk '$1 == "50%" { print $2 * ($2 ~ /us$/ ? 1 : $2 ~ /ms$/ ? 1e3 : 1e6) }' \
        "$work/load.log"
}
wrk_rate() { sed -n 's/^Requests\/sec: *//p' "$work/load.log"; }

# ask_http NAME: NAME.alone and NAME.core, as above, of one connection;
# NAME.rate16 and NAME.rate64.
ask_http() {
    local connections
    answerer "$1" || return 1
    on_cores "${cores%%[-,]*}" ask_wrk 1 1 || return 1
    wrk_p50 >>"$work/$1.core"
    ask_wrk 1 1 || return 1
    wrk_p50 >>"$work/$1.alone"
    for connections in 16 64; do
        ask_wrk "$connections" 2 || return 1
        wrk_rate >>"$work/$1.rate$connections"
    done
    end_all
    return 0
}

# ---- the parts ----

# The library alone, with its own loop; both are asked by the same clients.
part_coap() {
    local run subject=coap modes=(coap_bare)
    say "CoAP: confirmable POSTs to a function, and to bare libcoap"
    for ((run = 0; run < runs; run++)); do
        all ask_coap "$run" core alone rate
    done
    compared "CoAP rate, 16 peers" "requests/s" rate coap_bare ">= 0.7"
    compared "CoAP p50, 1 peer, on one core" us core coap_bare \
        "<= ceiling + 50 us"
    compared "CoAP p50, 1 peer" us alone coap_bare "<= ceiling + 50 us"
}

part_http() {
    local run connections subject=http modes=(http_bare)
    say "HTTP: GETs of a function, and of bare libmicrohttpd"
    for ((run = 0; run < runs; run++)); do
        all ask_http "$run" core alone rate16 rate64
    done
    for connections in 16 64; do
        compared "HTTP rate, $connections connections" "requests/s" \
            "rate$connections" http_bare ">= 0.6"
    done
    compared "HTTP p50, 1 connection, on one core" us core http_bare \
        "<= ceiling + 60 us"
    compared "HTTP p50, 1 connection" us alone http_bare "<= ceiling + 60 us"
}

# The filter of a trigger: no broker, no Lua, one thread.
part_filter() {
    local run
    say "filter: readings of 90 bytes"
    for ((run = 0; run < runs; run++)); do
        "$build/bench/filter" --json --events 2000000 >"$work/filter.log" || {
            lost "filter failed"
            return
        }
        field rate <"$work/filter.log" >>"$work/filter.rate"
    done
    row "filter over 90-byte JSON, 1 core" "events/s" \
        "$(spread <"$work/filter.rate")" - - ">= 1,000,000"
}

part_mqtt() {
    local run best
    say "MQTT: $count readings through overheat, $runs runs each of moonpool, ${modes[*]}"
    for ((run = 0; run < runs; run++)); do all flood "$run" rate cpu; done
    best=$(best_mode rate -r)
    [ -n "$best" ] || return
    compared "MQTT rate" "readings/s" rate "$best" ">= 0.9"
    best=$(best_mode cpu -s)
    compared "MQTT processor time, host and workers" "s per 100,000" cpu \
        "$best" "<= 1.3"
    for best in "${modes[@]}"; do
        row "  ceiling $best, rate" "readings/s" "$(spread <"$work/$best.rate")"
        row "  ceiling $best, processor time" "s per 100,000" \
            "$(spread <"$work/$best.cpu")"
    done
}

# What one host has counted since its start; it is asked by a signal.
metric() {
    : >"$work/subject.log"
    kill -USR1 "$SUBJECT"
    until_true 5 grep -q moonpool_build_info "$work/subject.log"
    sed -n "s/^moonpool_$1 //p" "$work/subject.log" | tail -n 1
}

# flood, and what the host says of its commits.
flood_durable() {
    local bytes
    flood_keeps=1 flood "$1" || return 1
    if [ "$1" != durable ]; then
        end_all
        return 0
    fi
    metric 'commit_seconds{f="",quantile="0.5"}' |
        awk '{print $1 * 1000}' >>"$work/durable.commit50"
    metric 'commit_seconds{f="",quantile="0.99"}' |
        awk '{print $1 * 1000}' >>"$work/durable.commit99"
    bytes=$(sed -n 's/^moonpool_flash_written_bytes_total{[^}]*} //p' \
        "$work/subject.log" | awk '{s += $1} END {print s}')
    awk -v b="$bytes" -v n="$count" 'BEGIN {print b / n}' \
        >>"$work/durable.bytes"
    end_all
}

# A durable counter for each of 100 devices, beside a bare program that does
# the same increments in SQLite, one commit a batch of the same bounds.
part_durable() {
    local run best subject=durable function=counter every=100
    # 100 devices in turn, each answered at its 100th reading
    local before_first=9900
    local modes=(counter counter-gather)
    say "durable: $count readings counted for each of 100 devices"
    for ((run = 0; run < runs; run++)); do all flood_durable "$run" rate cpu; done
    best=$(best_mode rate -r)
    [ -n "$best" ] || return
    compared "durable counter, rate" "readings/s" rate "$best" ">= 0.8"
    best=$(best_mode cpu -s)
    compared "durable counter, processor time" "s per 100,000" cpu "$best" -
    row "durable counter, commit p50" ms "$(spread <"$work/durable.commit50")"
    row "durable counter, commit p99" ms "$(spread <"$work/durable.commit99")"
    row "durable counter, written" "bytes/reading" \
        "$(spread <"$work/durable.bytes")"
}

# 10,000 alarms, one for each device: set by one burst, all fired 2 s later.
part_alarms() {
    local run function=alarms
    say "10,000 alarms set and fired"
    for ((run = 0; run < runs; run++)); do
        broker && subject moonpool || return
        watcher count 10000 || return
        "$build/sensors" --mqtt "$URL" --devices 10000 --count 10000 \
            >"$work/sensors.log" 2>&1 || lost "sensors failed"
        wait "$WATCHER"
        field seconds <"$work/alerts.log" >>"$work/alarms.seconds"
        end_all
    done
    row "10,000 alarms fired, from the first answer to the last" s \
        "$(spread <"$work/alarms.seconds")"
}

part_steady() {
    local run best
    say "latency at a steady 2,000 readings/s"
    for ((run = 0; run < runs; run++)); do all steady "$run" p50 p99; done
    best=$(best_mode p50 -s)
    [ -n "$best" ] || return
    compared "steady 2,000/s, p50" ms p50 "$best" -
    compared "steady 2,000/s, p99" ms p99 "$best" -
}

# Fresh states.  The program interleaves rounds and takes medians by itself.
# Wanted: what a fresh state adds to a reused one, and what a cold one costs.
part_fresh() {
    local line name reused ns wanted
    say "fresh state"
    "$build/bench/fresh" --json >"$work/fresh" || {
        lost "fresh failed"
        return
    }
    reused=$(grep '"reused ' "$work/fresh" | field ns)
    while read -r line; do
        name=$(sed -n 's/.*"row":"\([^"]*\)".*/\1/p' <<<"$line")
        ns=$(field ns <<<"$line")
        case $name in
            "fresh image") wanted="<= reused + 500 ns" ;;
            newstate*) wanted=">= 15 times a fresh image" ;;
            *) wanted=- ;;
        esac
        row "$name ($(($(field image_bytes <<<"$line") / 1024)) KB)" ns "$ns" \
            "$reused" "$(awk -v a="$ns" -v b="$reused" \
                'BEGIN {printf "%.2f", a / b}')" "$wanted"
    done < <(grep '"row"' "$work/fresh")
}

# The host's whole path without a broker, one worker.
part_pipeline() {
    local run
    say "pipeline: host and one worker, without a broker"
    only_function overheat
    for ((run = 0; run < runs; run++)); do
        "$build/bench/pipeline" --json --events 300000 --workers 1 \
            --functions "$work/functions" >"$work/pipeline.log" || {
            lost "pipeline failed"
            return
        }
        field rate <"$work/pipeline.log" >>"$work/pipeline.rate"
        field cpu_per_100k <"$work/pipeline.log" >>"$work/pipeline.cpu"
    done
    row "pipeline, 1 worker" "invocations/s" \
        "$(spread <"$work/pipeline.rate")" - - ">= 300,000"
    row "pipeline, processor time" "s per 100,000" \
        "$(spread <"$work/pipeline.cpu")"
}

# exec to `ready`, then the memory of what does nothing.
part_footprint() {
    local run begin pid file
    say "footprint"
    for ((run = 0; run < runs; run++)); do
        broker || return
        begin=$(date +%s%N)
        subject moonpool || return
        echo $((($(date +%s%N) - begin) / 1000)) |
            awk '{printf "%.1f\n", $1 / 1000}' >>"$work/ready"
        sleep 1
        memory host "$SUBJECT"
        pid=$(children "$SUBJECT" | head -n 1)
        memory worker "$pid"
        end_all
    done
    for ((run = 0; run < runs; run++)); do
        only_function coap-answer http-answer
        free_port
        answering_host
        if ! until_true 10 answers coap || ! until_true 10 answers http; then
            lost "the host does not answer, see $work/subject.log"
            end_all
            break
        fi
        sleep 1
        memory answering "$SUBJECT"
        end_all
    done
    row "exec to ready" ms "$(spread <"$work/ready")" - - "<= 100"
    row "host idle with CoAP and HTTP, PSS" MB "$(spread <"$work/answering.Pss")"
    for pid in host worker; do
        row "$pid idle, PSS" MB "$(spread <"$work/$pid.Pss")"
        row "$pid idle, Private_Dirty" MB \
            "$(spread <"$work/$pid.Private_Dirty")"
    done
    for file in moonpool moonpool-host moonpool-worker; do
        strip -o "$work/stripped" "$build/$file" &&
            row "$file, stripped" KB \
                "$(stat -c %s "$work/stripped" | awk '{printf "%.0f\n", $1 / 1024}')"
    done
}
memory() {
    local what
    for what in Pss Private_Dirty; do
        awk -v k="$what:" '$1 == k {printf "%.2f\n", $2 / 1024}' \
            "/proc/$2/smaps_rollup" >>"$work/$1.$what"
    done
}

# ---- the table ----

machine() {
    echo "$(uname -m), $(nproc) cores, $(. /etc/os-release && echo "$PRETTY_NAME")"
}

table() {
    awk -F '\t' '
    function n(x) { # a number as people read it
        if (x == "-" || x == "") return "-"
        if (x >= 1000) {
            x = sprintf("%.0f", x)
            while (match(x, /[0-9][0-9][0-9][0-9]($|,)/))
                x = substr(x, 1, RSTART) "," substr(x, RSTART + 1)
            return x
        }
        return sprintf((x < 10 ? "%.3g" : "%.4g"), x)
    }
    BEGIN {
        print "| what | unit | median | min - max | ceiling | ratio | wanted |"
        print "| --- | --- | ---: | ---: | ---: | ---: | --- |"
    }
    { range = $4 == "-" || $4 == $5 ? "-" : n($4) " - " n($5)
      printf "| %s | %s | %s | %s | %s | %s | %s |\n",
        $1, $2, n($3), range, n($6), n($7), $8 }' "$rows"
}

json() {
    awk -F '\t' -v machine="$(machine)" -v runs="$runs" '
    function v(x) { return x == "-" || x == "" ? "null" : x }
    function q(x) { gsub(/["\\]/, "\\\\&", x); return "\"" x "\"" }
    BEGIN { printf "{\"machine\":%s,\"runs\":%d,\"rows\":[", q(machine), runs }
    { sub(/^ +/, "", $1)
      printf "%s\n{\"name\":%s,\"unit\":%s,\"median\":%s,\"min\":%s,", \
        (NR > 1 ? "," : ""), q($1), q($2), v($3), v($4)
      printf "\"max\":%s,\"ceiling\":%s,\"ratio\":%s,\"wanted\":%s}", \
        v($5), v($6), v($7), ($8 == "-" ? "null" : q($8)) }
    END { print "\n]}" }' "$rows"
}

has() { [[ ,$only, == *,$1,* ]]; }
has fresh && part_fresh
has filter && part_filter
has pipeline && part_pipeline
has mqtt && part_mqtt
has steady && part_steady
has durable && part_durable
has alarms && part_alarms
has coap && part_coap
has http && part_http
has footprint && part_footprint

echo
echo "$(machine); medians of $runs runs"
echo
table
json >"$build/bench.json"
echo
echo "also in $build/bench.json"
exit "$failed"
